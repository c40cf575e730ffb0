package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Flights is how many runs of a program may be under way at the same time.
const Flights = 2

// A Flight is a run of a program that Start has begun. It may be waited for and
// read until the next Start but one; only on that, a Flight is void.
type Flight struct {
	p   *Program
	run int
}

// flights are the runs of one program that may be under way.
type flights struct {
	slots   [Flights]slotState
	started int      // runs that Start has begun
	latest  int      // the one whose outputs are in the arena, -1: none
	src     [][]byte // of an upload
	via     []Tensor // where the next run's inputs wait
	staging Staging  // nil before the first Start, or without a Pipeliner
	closed  bool
}

// A slotState is what is known of the last run of a slot.
type slotState struct {
	run   int // -1: none yet
	over  bool
	err   error
	saved [][]byte // outputs that a later run has overwritten in the arena
	kept  bool     // saved is this run's
}

// bind lays out the memory in which the next run's inputs wait.
func (f *flights) bind(p *Program, l *layout) {
	f.latest = -1
	for i := range f.slots {
		f.slots[i].run, f.slots[i].over = -1, true
	}
	f.src = make([][]byte, len(p.inputs))
	if l.staged == nil {
		return
	}
	off := l.staged.off
	for _, i := range p.inputs {
		f.via = append(f.via, Tensor{Spec: i.tensor.Spec, Buf: p.arena, Off: off})
		off += alignUp(i.tensor.Bytes())
	}
}

// inputs returns the inputs that the plan's steps and outputs use, in the order
// of their first use.
func (p *plan) inputs() (all []*Value) {
	add := func(vs []*Value) {
		for _, v := range vs {
			if v.input && !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	for _, s := range p.all() {
		add(s.in)
	}
	add(p.outputs)
	return all
}

// stage sets memory aside, for as long as the program lives, in which the next
// run's inputs wait, if the backend can make use of it.
func (p *plan) stage(l *layout) {
	if _, ok := p.backend.(Pipeliner); !ok {
		return
	}
	n := 0
	for _, v := range p.inputs() {
		n += alignUp(v.Bytes())
	}
	if n > 0 {
		l.staged = &block{bytes: n, first: before, last: len(p.steps)}
		l.blocks = append(l.blocks, l.staged)
	}
}

// Overlaps reports whether Start returns before the end of the run.
func (p *Program) Overlaps() bool {
	_, ok := p.backend.(Pipeliner)
	return ok
}

// Start takes the inputs, which may be changed once it returns, and begins a
// run, as Run does, but on a Pipeliner it does not wait for anything on the
// device. Runs are done in the order of their beginning. At most two may be
// under way: that before the last must have been waited for. But for the first
// call, which makes the host memory for the data, Start allocates nothing.
func (p *Program) Start(ctx context.Context, in Bindings) (Flight, error) {
	if err := ctx.Err(); err != nil {
		return Flight{}, err
	}
	f := &p.flights
	s := &f.slots[f.started%Flights]
	if !s.over {
		return Flight{}, fmt.Errorf("starting a run: %d are under way; wait for the first of them", Flights)
	}
	defer clear(f.src)
	for i := range p.inputs {
		var err error
		if f.src[i], err = p.inputs[i].bound(in); err != nil {
			return Flight{}, err
		}
	}
	if err := f.leave(p); err != nil {
		return Flight{}, err
	}
	if err := f.begin(p); err != nil {
		_ = p.backend.Sync() // for what was enqueued; it can but fail for the same reason
		return Flight{}, err
	}
	s.run, s.over, s.err, s.kept = f.started, false, nil, false
	f.latest = f.started
	f.started++
	return Flight{p: p, run: s.run}, nil
}

// begin uploads, launches and, on a Pipeliner, downloads; else it waits.
func (f *flights) begin(p *Program) error {
	b, ok := p.backend.(Pipeliner)
	if ok && f.staging == nil {
		if err := f.open(p, b); err != nil {
			return err
		}
	}
	slot := f.started % Flights
	if ok {
		if err := f.staging.Upload(slot, f.src); err != nil {
			return fmt.Errorf("%s: inputs: %w", p.backend.Name(), err)
		}
	} else {
		defer p.lending.end()
		for i := range p.inputs {
			if p.lending.take(i, f.src[i]) {
				continue
			}
			if err := p.inputs[i].write(f.src[i]); err != nil {
				return err
			}
		}
	}
	if err := p.launch(); err != nil {
		return err
	}
	var err error
	if ok {
		err = f.staging.Download(slot)
	} else {
		err = p.backend.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.backend.Name(), err)
	}
	return nil
}

// open makes the staging.
func (f *flights) open(p *Program, b Pipeliner) error {
	var in, out []Tensor
	for _, i := range p.inputs {
		in = append(in, i.tensor)
	}
	for _, o := range p.outputs {
		out = append(out, o.tensor)
	}
	s, err := b.Stage(in, f.via, out)
	if err != nil {
		return fmt.Errorf("%s: memory for inputs and outputs on their way: %w", b.Name(), err)
	}
	f.staging = s
	return nil
}

var errProgramClosed = errors.New("the program is closed")

// leave is called before a run overwrites the outputs in the arena. Those of a
// flight that nobody has waited for yet are saved, unless they have gone to the
// host already.
func (f *flights) leave(p *Program) error {
	if f.closed {
		return errProgramClosed
	}
	if f.latest < 0 || f.staging != nil {
		return nil
	}
	s := &f.slots[f.latest%Flights]
	f.latest = -1
	if s.over {
		return nil
	}
	if s.saved == nil {
		for _, o := range p.outputs {
			s.saved = append(s.saved, make([]byte, o.tensor.Bytes()))
		}
	}
	for i, o := range p.outputs {
		if err := o.tensor.Read(s.saved[i]); err != nil {
			return fmt.Errorf("reading %v: %w", o.value, err)
		}
	}
	s.kept = true
	return nil
}

// slot returns the state of the flight's run.
func (f Flight) slot() (*slotState, error) {
	if f.p == nil {
		return nil, errors.New("the flight was never started")
	}
	if f.p.flights.closed {
		return nil, errProgramClosed
	}
	s := &f.p.flights.slots[f.run%Flights]
	if s.run != f.run {
		return nil, errors.New("the flight's memory has gone to a later one")
	}
	return s, nil
}

// Wait waits for the end of the flight's run, not for runs that were begun after
// it. A failure of the device since Start surfaces here, at each call.
func (f Flight) Wait() error {
	s, err := f.slot()
	if err != nil || s.over {
		return firstError(err, errOf(s))
	}
	s.over = true
	if st := f.p.flights.staging; st != nil {
		if err := st.Wait(f.run % Flights); err != nil {
			s.err = fmt.Errorf("%s: %w", f.p.backend.Name(), err)
		}
	}
	return s.err
}

func errOf(s *slotState) error {
	if s == nil {
		return nil
	}
	return s.err
}

// Read copies an output of the flight's run to dst, which must have its bytes.
// The flight must have been waited for. On a Pipeliner its outputs can be read
// until the next Start but one, elsewhere until the first run that is begun
// after Wait.
func (f Flight) Read(v *Value, dst []byte) error {
	s, err := f.slot()
	if err != nil {
		return err
	}
	if !s.over || s.err != nil {
		return firstError(s.err, fmt.Errorf("reading %v: the flight has not been waited for", v))
	}
	i, err := f.p.output(v, dst)
	if err != nil {
		return err
	}
	switch fs := &f.p.flights; {
	case fs.staging != nil:
		copy(dst, fs.staging.Output(f.run%Flights, i))
	case s.kept:
		copy(dst, s.saved[i])
	case fs.latest == f.run:
		return f.p.outputs[i].tensor.Read(dst)
	default:
		return fmt.Errorf("reading %v: a later run has overwritten it", v)
	}
	return nil
}

// close waits for the copies and frees their memory.
func (f *flights) close() error {
	f.closed = true
	if f.staging == nil {
		return nil
	}
	s := f.staging
	f.staging = nil
	return s.Close()
}
