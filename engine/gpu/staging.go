package gpu

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

var (
	_ engine.Pipeliner = (*Backend)(nil)
	_ engine.Metered   = (*Backend)(nil)
)

// Memory implements engine.Metered.
func (b *Backend) Memory() (free, total int, err error) {
	if err := b.usable(); err != nil {
		return 0, 0, err
	}
	free, total, err = b.ctx.MemInfo()
	return free, total, b.wrap(err)
}

// A staging carries the data of a program's runs. The inputs of a run go from
// the caller's memory to pinned memory, from there, in a stream of their own and
// so beside the run before, to device memory of theirs, and from there, in the
// backend's stream, to their places. Outputs go straight to pinned memory. What
// is large is copied by several goroutines, and uploaded while they copy on.
//
//	host      copy into slot k mod 2, piece by piece
//	copies    [wait for taken(k-1)]  upload(k), piece by piece  →uploaded
//	stream    …run(k-1)  [wait for uploaded]  copy(k)  →taken  run(k)  download(k)  →done(k mod 2)
type staging struct {
	b       *Backend
	in, out []part
	via     cuda.Ptr // of all inputs
	bytes   int      // of all inputs, as they lie at via and in a slot
	slots   [engine.Flights]slot
	copies  *cuda.Stream
	load    carrying
	send    func(off, n int) error // of slot sending, made once
	sending int

	uploaded, taken *cuda.Event
	closed          bool
}

// A part is one tensor's place on the device and in pinned memory.
type part struct {
	p          cuda.Ptr
	off, bytes int
}

// A slot is the pinned memory of one run, the inputs before the outputs.
type slot struct {
	host *cuda.Host
	done *cuda.Event
}

// Stage implements engine.Pipeliner. An error of pinned memory, of which the
// host has too little, does not wrap engine.ErrOutOfMemory: the card's would
// be of no help.
func (b *Backend) Stage(in, via, out []engine.Tensor) (engine.Staging, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if b.capturing {
		return nil, errRecording
	}
	if len(in) != len(via) {
		return nil, fmt.Errorf("%w: %d inputs and %d places for them", engine.ErrShape, len(in), len(via))
	}
	s := &staging{b: b}
	err := s.lay(in, via, out)
	if err == nil {
		err = s.open()
	}
	if err != nil {
		return nil, errors.Join(b.wrap(err), s.Close())
	}
	return s, nil
}

// lay finds out where everything is.
func (s *staging) lay(in, via, out []engine.Tensor) error {
	for i, t := range in {
		p, err := s.b.address(t, t.Bytes())
		if err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
		v, err := s.b.address(via[i], t.Bytes())
		if err != nil {
			return fmt.Errorf("the place of input %d: %w", i, err)
		}
		if i == 0 {
			s.via = v
		}
		off := int(v - s.via)
		if v < s.via || off < s.bytes {
			return fmt.Errorf("%w: the place of input %d is not behind the one before", engine.ErrShape, i)
		}
		s.in = append(s.in, part{p, off, t.Bytes()})
		s.bytes = off + t.Bytes()
	}
	s.load.lay(s.in)
	if s.b.helpers == nil && len(s.load.blocks) > 1 {
		s.b.helpers = newHelpers()
	}
	s.send = func(off, n int) error {
		return s.copies.WriteAsync(s.via+cuda.Ptr(off), s.slots[s.sending].host, off, n)
	}
	end := roundUp(s.bytes)
	for i, t := range out {
		p, err := s.b.address(t, t.Bytes())
		if err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
		s.out = append(s.out, part{p, end, t.Bytes()})
		end = roundUp(end + t.Bytes())
	}
	for i := range s.slots {
		var err error
		if s.slots[i].host, err = s.b.ctx.AllocHost(max(end, 1)); err != nil {
			if errors.Is(err, cuda.ErrOutOfMemory) {
				return fmt.Errorf("%s of pinned memory on the host: %s", engine.HumanBytes(end), err)
			}
			return err
		}
	}
	return nil
}

// open makes the stream and the events.
func (s *staging) open() (err error) {
	if s.copies, err = s.b.ctx.NewStream(); err != nil {
		return fmt.Errorf("making a stream: %w", err)
	}
	for _, e := range []**cuda.Event{&s.uploaded, &s.taken} {
		if *e, err = s.b.ctx.NewOrderEvent(); err != nil {
			return fmt.Errorf("making an event: %w", err)
		}
	}
	// A run takes milliseconds: whoever waits for it sleeps, and leaves the core
	// to those that make the next batch. The device has the next run by then.
	for i := range s.slots {
		if s.slots[i].done, err = s.b.ctx.NewBlockingEvent(); err != nil {
			return fmt.Errorf("making an event: %w", err)
		}
	}
	return s.b.stream.Record(s.taken)
}

// usable returns why nothing can be carried any more.
func (s *staging) usable() error {
	switch {
	case s.closed:
		return errors.New("the staging is closed")
	case s.b.capturing:
		return errRecording
	}
	return s.b.usable()
}

// Upload implements engine.Staging.
func (s *staging) Upload(slot int, src [][]byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	for i, p := range s.in {
		if len(src[i]) != p.bytes {
			return fmt.Errorf("input %d: %w: %d bytes given, %d needed", i, engine.ErrShape, len(src[i]), p.bytes)
		}
	}
	if s.bytes == 0 {
		return nil
	}
	if err := s.upload(slot, src); err != nil {
		_ = s.copies.Sync() // nothing may read the slot's memory when it is used again
		return s.b.wrap(err)
	}
	return nil
}

// upload copies to pinned memory and enqueues the copies from there.
func (s *staging) upload(slot int, src [][]byte) error {
	if err := s.copies.Wait(s.taken); err != nil {
		return err
	}
	s.sending = slot
	if err := s.load.carry(s.b.helpers, s.slots[slot].host.Bytes(), src, s.send); err != nil {
		return err
	}
	if err := s.copies.Record(s.uploaded); err != nil {
		return err
	}
	if err := s.b.stream.Wait(s.uploaded); err != nil {
		return err
	}
	for _, p := range s.in {
		if err := s.b.stream.Copy(p.p, s.via+cuda.Ptr(p.off), p.bytes); err != nil {
			return err
		}
	}
	return s.b.stream.Record(s.taken)
}

// Download implements engine.Staging.
func (s *staging) Download(slot int) error {
	if err := s.usable(); err != nil {
		return err
	}
	for _, p := range s.out {
		if err := s.b.stream.ReadAsync(s.slots[slot].host, p.off, p.bytes, p.p); err != nil {
			return s.b.wrap(err)
		}
	}
	return s.b.wrap(s.b.stream.Record(s.slots[slot].done))
}

// Wait implements engine.Staging.
func (s *staging) Wait(slot int) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.b.wrap(s.slots[slot].done.Sync())
}

// Output implements engine.Staging.
func (s *staging) Output(slot, i int) []byte {
	p := s.out[i]
	return s.slots[slot].host.Bytes()[p.off : p.off+p.bytes]
}

// Close implements engine.Staging. Of a device that is lost, or a backend that
// is closed, nothing is to be freed.
func (s *staging) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.b.closed || s.b.ended() {
		return nil
	}
	if err := s.b.wrap(s.b.stream.Sync()); err != nil {
		return err
	}
	var errs []error
	if s.copies != nil {
		errs = append(errs, s.copies.Sync(), s.copies.Close())
	}
	for _, e := range []*cuda.Event{s.uploaded, s.taken, s.slots[0].done, s.slots[1].done} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	for _, h := range s.slots {
		if h.host != nil {
			errs = append(errs, h.host.Close())
		}
	}
	return s.b.wrap(errors.Join(errs...))
}
