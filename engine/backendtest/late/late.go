// Package late has a backend that works as late as it may, for tests of those who
// launch work and wait for it.
package late

import "github.com/potstill/potstill/engine"

// Wrap returns a backend with b's memory and kernels that works on its own, as
// a GPU does, and as late as it may: recordings and the copies of stagings are
// done when somebody waits for them, and no further than to what is waited for.
// It serves to test that callers wait for what they read, and for nothing else.
// b must be an engine.Recorder and an engine.Fuser that replays at once.
func Wrap(b engine.Backend) *Backend { return &Backend{Backend: b} }

// A Backend is what Wrap returns. It implements engine.Pipeliner.
type Backend struct {
	engine.Backend
	// Fail, if not nil, is asked before every recording is replayed, and may
	// have it fail. The failure shows where somebody waits, and stays.
	Fail func() error

	queue    []func() error
	launched int // jobs that ever entered the queue
	done     int // of these, those that were done
	err      error
}

// Launched returns how many jobs have been enqueued, and how many of them were done.
func (b *Backend) Launched() (launched, done int) { return b.launched, b.done }

func (b *Backend) push(f func() error) {
	b.queue = append(b.queue, f)
	b.launched++
}

// through does the queue's jobs up to the n-th that ever entered it.
func (b *Backend) through(n int) error {
	for b.err == nil && b.done < n {
		f := b.queue[0]
		b.queue = b.queue[1:]
		b.done++
		b.err = f()
	}
	return b.err
}

// Fuses implements engine.Fuser.
func (b *Backend) Fuses(op engine.Op, in, out []engine.Spec) bool {
	return b.Backend.(engine.Fuser).Fuses(op, in, out)
}

// Sync implements engine.Backend.
func (b *Backend) Sync() error { return b.through(b.launched) }

// Alloc implements engine.Backend.
func (b *Backend) Alloc(bytes int) (engine.Buffer, error) {
	m, err := b.Backend.Alloc(bytes)
	return &buffer{m, b}, err
}

// Compile implements engine.Backend.
func (b *Backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	k, err := b.Backend.Compile(op, in, out)
	return kernel{k}, err
}

// Record implements engine.Recorder.
func (b *Backend) Record(enqueue func() error) (engine.Recording, error) {
	if err := b.Sync(); err != nil {
		return nil, err
	}
	r, err := b.Backend.(engine.Recorder).Record(enqueue)
	return &recording{r, b}, err
}

// Stage implements engine.Pipeliner.
func (b *Backend) Stage(in, _, out []engine.Tensor) (engine.Staging, error) {
	s := &staging{b: b, in: in, out: out}
	for i := range s.slots {
		for _, t := range in {
			s.slots[i].in = append(s.slots[i].in, make([]byte, t.Bytes()))
		}
		for _, t := range out {
			s.slots[i].out = append(s.slots[i].out, make([]byte, t.Bytes()))
		}
	}
	return s, nil
}

type buffer struct {
	engine.Buffer
	b *Backend
}

func (m *buffer) Write(off int, src []byte) error {
	if err := m.b.Sync(); err != nil {
		return err
	}
	return m.Buffer.Write(off, src)
}

func (m *buffer) Read(off int, dst []byte) error {
	if err := m.b.Sync(); err != nil {
		return err
	}
	return m.Buffer.Read(off, dst)
}

func (m *buffer) Close() error {
	_ = m.b.Sync()
	return m.Buffer.Close()
}

// A kernel hands b's own tensors to b's kernel.
type kernel struct{ engine.Kernel }

func (k kernel) Enqueue(in, out []engine.Tensor, ws engine.Tensor) error {
	plain := func(ts []engine.Tensor) []engine.Tensor {
		all := make([]engine.Tensor, len(ts))
		for i, t := range ts {
			all[i] = inner(t)
		}
		return all
	}
	return k.Kernel.Enqueue(plain(in), plain(out), inner(ws))
}

// inner returns the tensor in b's own buffer.
func inner(t engine.Tensor) engine.Tensor {
	if m, ok := t.Buf.(*buffer); ok {
		t.Buf = m.Buffer
	}
	return t
}

type recording struct {
	engine.Recording
	b *Backend
}

func (r *recording) Replay() error {
	if r.b.err != nil {
		return r.b.err
	}
	r.b.push(func() error {
		if r.b.Fail != nil {
			if err := r.b.Fail(); err != nil {
				return err
			}
		}
		return r.Recording.Replay()
	})
	return nil
}

func (r *recording) Close() error {
	_ = r.b.Sync()
	return r.Recording.Close()
}

type staging struct {
	b       *Backend
	in, out []engine.Tensor
	slots   [engine.Flights]struct {
		in, out [][]byte
		end     int // of the last Download, among the queue's jobs
	}
}

func (s *staging) Upload(slot int, src [][]byte) error {
	if s.b.err != nil {
		return s.b.err
	}
	for i, x := range src {
		held := s.slots[slot].in[i]
		copy(held, x)
		s.b.push(func() error { return inner(s.in[i]).Write(held) })
	}
	return nil
}

func (s *staging) Download(slot int) error {
	for i := range s.out {
		s.b.push(func() error { return inner(s.out[i]).Read(s.slots[slot].out[i]) })
	}
	s.slots[slot].end = s.b.launched
	return s.b.err
}

func (s *staging) Wait(slot int) error { return s.b.through(s.slots[slot].end) }

func (s *staging) Output(slot, i int) []byte { return s.slots[slot].out[i] }

func (s *staging) Close() error {
	_ = s.b.Sync()
	return nil
}
