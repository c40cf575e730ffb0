package backendtest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// guardBytes lie before, between and behind the tensors, and align them.
const guardBytes = 64

// Two NaNs: what the guards hold and what outputs and workspace start as.
const (
	guardWord  = 0x7FC5A5A5
	poisonWord = 0xFFFFFFFF
)

// A rig is a compiled kernel with its tensors, all in one buffer.
type rig struct {
	backend engine.Backend
	kernel  engine.Kernel
	buf     engine.Buffer
	in, out []engine.Tensor
	ws      engine.Tensor
	kept    engine.Tensor // what a Preparer keeps; the zero Tensor without
	image   []byte        // the buffer's content before a run
	spans   []span
}

// A span is the place of a tensor in the buffer.
type span struct {
	name     string
	off, end int
	writable bool
}

func newRig(b engine.Backend, op engine.Op, in, want []ref.Array) (*rig, error) {
	specs := func(a []ref.Array) (s []engine.Spec) {
		for _, x := range a {
			s = append(s, x.Spec)
		}
		return s
	}
	k, err := b.Compile(op, specs(in), specs(want))
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	r := &rig{backend: b, kernel: k}
	r.guard()
	for i, a := range in {
		r.in = append(r.in, r.place(fmt.Sprint("input ", i), a.Spec, false, a.Encode()))
	}
	for i, a := range want {
		if u, ok := op.(engine.Updater); ok && u.Alias(i) >= 0 {
			r.out = append(r.out, r.in[u.Alias(i)])
			r.spans[u.Alias(i)].writable = true
			continue
		}
		r.out = append(r.out, r.place(fmt.Sprint("output ", i), a.Spec, true, poison(a.Bytes())))
	}
	ws := engine.Spec{Shape: []int{k.Workspace()}, DType: engine.Uint8}
	r.ws = r.place("workspace", ws, true, poison(ws.Bytes()))
	if p, ok := k.(engine.Preparer); ok {
		if _, n := p.Prepares(); n > 0 {
			kept := engine.Spec{Shape: []int{n}, DType: engine.Uint8}
			r.kept = r.place("what is prepared", kept, true, poison(n))
		}
	}
	if r.buf, err = b.Alloc(len(r.image)); err != nil {
		return nil, fmt.Errorf("alloc: %w", err)
	}
	for i := range r.in {
		r.in[i].Buf = r.buf
	}
	for i := range r.out {
		r.out[i].Buf = r.buf
	}
	r.ws.Buf, r.kept.Buf = r.buf, r.buf
	return r, nil
}

// poison returns n bytes of NaNs.
func poison(n int) []byte { return words(n, poisonWord) }

// words returns n bytes that repeat the word w.
func words(n int, w uint32) []byte {
	var b []byte
	for len(b) < n {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b[:n]
}

// guard appends a guard zone that ends at a multiple of its size.
func (r *rig) guard() {
	n := guardBytes + (guardBytes-len(r.image)%guardBytes)%guardBytes
	r.image = append(r.image, words(n, guardWord)...)
}

// place appends a tensor and the guard behind it.
func (r *rig) place(name string, s engine.Spec, writable bool, data []byte) engine.Tensor {
	off := len(r.image)
	r.image = append(r.image, data...)
	r.spans = append(r.spans, span{name, off, len(r.image), writable})
	r.guard()
	return engine.Tensor{Spec: s, Off: off}
}

func (r *rig) enqueue() error { return r.kernel.Enqueue(r.in, r.out, r.ws) }

// prepares reports whether the kernel can do a part of its work once.
func (r *rig) prepares() bool { return r.kept.Bytes() > 0 && r.kept.Shape != nil }

// enqueuePrepared prepares the kernel once and enqueues it twice.
func (r *rig) enqueuePrepared() error {
	p := r.kernel.(engine.Preparer)
	if err := p.Prepare(r.in, r.kept); err != nil {
		return err
	}
	if err := p.EnqueuePrepared(r.in, r.out, r.ws, r.kept); err != nil {
		return err
	}
	return p.EnqueuePrepared(r.in, r.out, r.ws, r.kept)
}

// run starts from the image, enqueues, waits, and returns the buffer's content.
func (r *rig) run(enqueue func() error) ([]byte, error) {
	if err := r.buf.Write(0, r.image); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	if err := enqueue(); err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	if err := r.backend.Sync(); err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	return r.content()
}

func (r *rig) content() ([]byte, error) {
	got := make([]byte, len(r.image))
	if err := r.buf.Read(0, got); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return got, nil
}

func (r *rig) close() { _ = r.buf.Close() }

// output returns the bytes of output k in content.
func (r *rig) output(content []byte, k int) []byte {
	t := r.out[k]
	return content[t.Off : t.Off+t.Bytes()]
}

// trespasses returns what was written that had to be left alone.
func (r *rig) trespasses(got []byte) (faults []string) {
	from := 0
	for i, s := range r.spans {
		if at := changed(r.image, got, from, s.off); at >= 0 {
			before := "the buffer's start"
			if i > 0 {
				before = r.spans[i-1].name
			}
			faults = append(faults, fmt.Sprintf("writes %d bytes behind %s, %d before %s", at-from, before, s.off-at, s.name))
		}
		if at := changed(r.image, got, s.off, s.end); at >= 0 && !s.writable {
			faults = append(faults, fmt.Sprintf("changes %s at byte %d", s.name, at-s.off))
		}
		from = s.end
	}
	if at := changed(r.image, got, from, len(got)); at >= 0 {
		faults = append(faults, fmt.Sprintf("writes %d bytes behind the %s", at-from, r.spans[len(r.spans)-1].name))
	}
	return faults
}

// changed returns the first place in [from, to) where a and b differ, or -1.
func changed(a, b []byte, from, to int) int {
	if bytes.Equal(a[from:to], b[from:to]) {
		return -1
	}
	for i := from; ; i++ {
		if a[i] != b[i] {
			return i
		}
	}
}

// differences returns which outputs differ, in any bit, between two runs.
func (r *rig) differences(what string, first, again []byte) (faults []string) {
	for k := range r.out {
		a, b := r.output(first, k), r.output(again, k)
		if at := changed(a, b, 0, len(a)); at >= 0 {
			faults = append(faults, fmt.Sprintf("%s gives other bits in output %d, from byte %d", what, k, at))
		}
	}
	return faults
}

// replays records the kernel and holds two replays to the direct run.
func (r *rig) replays(b engine.Recorder, first []byte) []string {
	if err := r.buf.Write(0, r.image); err != nil {
		return []string{"write: " + err.Error()}
	}
	rec, err := b.Record(r.enqueue)
	if err != nil {
		return []string{"record: " + err.Error()}
	}
	defer rec.Close()
	if err := b.Sync(); err != nil {
		return []string{"sync after record: " + err.Error()}
	}
	got, err := r.content()
	if err != nil {
		return []string{err.Error()}
	}
	if changed(r.image, got, 0, len(got)) >= 0 {
		return []string{"recording runs the kernel"}
	}
	for range 2 {
		if got, err = r.run(rec.Replay); err != nil {
			return []string{"replay: " + err.Error()}
		}
		faults := append(r.trespasses(got), r.differences("a replay", first, got)...)
		if len(faults) > 0 {
			return faults
		}
	}
	return nil
}
