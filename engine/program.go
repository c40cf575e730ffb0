package engine

import (
	"context"
	"fmt"
	"slices"
)

// Options say how a graph is compiled.
type Options struct {
	// Store holds the variables. It must belong to the backend.
	Store *Store
	// Outputs are the values to be read after a run.
	Outputs []*Value
	// NoFuse leaves every operator as it was written.
	NoFuse bool
}

// A Program is a graph compiled for one backend: its steps in order, every
// tensor at a fixed place in one arena.
type Program struct {
	backend Backend
	store   *Store
	info    *Plan
	arena   Buffer
	inputs  []port // in the order of their first use
	outputs []port // as asked for
	flights flights
	lending lending
	writes  []*slot // variables that a run overwrites
	fixed   []*slot // variables that it reads only, and of which something may be prepared
	seen    []int   // their versions when prepareAll ran

	prepare, steps       []bound
	preparing, recording Recording // of prepareAll and of the steps; nil without a Recorder
}

// A port is where an input or an output lies.
type port struct {
	value  *Value
	tensor Tensor
}

// A bound step is a kernel with its tensors.
type bound struct {
	step     *step
	in, out  []Tensor
	ws, kept Tensor
}

// Compile plans the graph for a backend: unneeded steps are dropped, chains
// fused, constant work hoisted, tensors placed. Nodes that update variables
// always stay.
func (g *Graph) Compile(b Backend, o Options) (*Program, error) {
	if o.Store == nil {
		o.Store = NewStore(b)
	}
	p, a, err := g.plan(b, o)
	if err != nil {
		return nil, err
	}
	return newProgram(p, a, o)
}

// plan runs the passes up to the compilation of the kernels.
func (g *Graph) plan(b Backend, o Options) (*plan, aliases, error) {
	if o.Store.backend != b {
		return nil, nil, fmt.Errorf("compiling for %s: the store belongs to %s", b.Name(), o.Store.backend.Name())
	}
	p := newPlan(g, b, o.Outputs)
	a, err := p.aliases()
	if err != nil {
		return nil, nil, err
	}
	p.drop()
	if !o.NoFuse {
		p.fuse()
		p.winners()
	}
	if err := p.checkUpdates(a); err != nil {
		return nil, nil, err
	}
	p.hoist(a)
	p.early(a)
	if !o.NoFuse {
		p.chain()
	}
	for _, s := range p.all() {
		if s.kernel, err = b.Compile(s.op, specsOf(s.in), specsOf(s.out)); err != nil {
			return nil, nil, fmt.Errorf("%s: %s%v (%s): %w", b.Name(), OpName(s.op), specsOf(s.in), s.scope, err)
		}
	}
	p.prepareKernels()
	if err := p.pack(); err != nil {
		return nil, nil, fmt.Errorf("%s: packing weights: %w", b.Name(), err)
	}
	return p, a, nil
}

// all returns the hoisted steps and the others.
func (p *plan) all() []*step { return append(append([]*step{}, p.prepare...), p.steps...) }

// newProgram places the plan in the device's memory. Where that is too small,
// the error is a *MemoryError.
func newProgram(p *plan, a aliases, o Options) (*Program, error) {
	l := p.layOut(a)
	needed, free := l.size+p.missing(a, o.Store), FreeMemory(p.backend)
	prog := &Program{backend: p.backend, store: o.Store}
	if err := prog.open(p, l, a); err != nil {
		return nil, memoryError(firstError(err, prog.Close()), p.backend, needed, free)
	}
	prog.info = describe(p, l, a)
	return prog, nil
}

// open allocates the arena, binds the steps to it and records them.
func (p *Program) open(plan *plan, l *layout, a aliases) (err error) {
	if p.arena, err = p.backend.Alloc(max(l.size, align)); err != nil {
		return fmt.Errorf("%s: an arena of %d bytes for the plan: %w", p.backend.Name(), l.size, err)
	}
	if err := p.bind(plan, l, a); err != nil {
		return err
	}
	r, ok := p.backend.(Recorder)
	if !ok {
		return nil
	}
	p.lending.open(p, plan, a)
	p.preparing, err = r.Record(p.prepareAll)
	if err == nil {
		p.recording, err = r.Record(p.rest)
	}
	if err != nil {
		return fmt.Errorf("%s: recording the plan: %w", p.backend.Name(), err)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bind resolves every value of every step to its tensor.
func (p *Program) bind(plan *plan, l *layout, a aliases) (err error) {
	tensor := func(v *Value) Tensor {
		r := a.root(v)
		if r.variable != nil {
			t, e := p.store.slot(r.variable)
			if e != nil {
				err = firstError(err, e)
				return Tensor{}
			}
			switch {
			case r != v:
				p.writes = append(p.writes, t)
			case plan.fixed[v] && !slices.Contains(p.fixed, t):
				p.fixed = append(p.fixed, t)
			}
			return t.Tensor
		}
		return Tensor{Spec: v.Spec, Buf: p.arena, Off: l.values[r].off}
	}
	memory := func(b *block) Tensor {
		if b == nil {
			return Tensor{}
		}
		return Tensor{Spec: Spec{Shape: []int{b.bytes}, DType: Uint8}, Buf: p.arena, Off: b.off}
	}
	bindAll := func(steps []*step) (all []bound) {
		for _, s := range steps {
			bs := bound{step: s, ws: memory(s.ws), kept: memory(s.kept)}
			if s.packed != nil {
				bs.kept = tensor(s.packed)
			}
			for _, v := range s.in {
				bs.in = append(bs.in, tensor(v))
			}
			for _, v := range s.out {
				bs.out = append(bs.out, tensor(v))
			}
			all = append(all, bs)
		}
		return all
	}
	p.prepare, p.steps = bindAll(plan.prepare), bindAll(plan.steps)
	for _, v := range plan.outputs {
		p.outputs = append(p.outputs, port{v, tensor(v)})
	}
	for _, v := range plan.inputs() {
		p.inputs = append(p.inputs, port{v, tensor(v)})
	}
	p.flights.bind(p, l)
	return err
}

// enqueue puts bound steps in the device's queue.
func enqueue(steps []bound) error {
	for i := range steps {
		s := &steps[i]
		var err error
		if s.step.kept != nil || s.step.packed != nil {
			err = s.step.kernel.(Preparer).EnqueuePrepared(s.in, s.out, s.ws, s.kept)
		} else {
			err = s.step.kernel.Enqueue(s.in, s.out, s.ws)
		}
		if err != nil {
			return fmt.Errorf("%s (%s): %w", OpName(s.step.op), s.step.scope, err)
		}
	}
	return nil
}

// rest enqueues the steps behind the one that is enqueued anew for each run, if there is one.
func (p *Program) rest() error { return enqueue(p.steps[len(p.lending.first):]) }

// prepareAll enqueues the hoisted steps, and what kernels prepare from values
// that do not change.
func (p *Program) prepareAll() error {
	if err := enqueue(p.prepare); err != nil {
		return err
	}
	for i := range p.steps {
		if s := &p.steps[i]; s.step.kept != nil {
			if err := s.step.kernel.(Preparer).Prepare(s.in, s.kept); err != nil {
				return fmt.Errorf("%s (%s): %w", OpName(s.step.op), s.step.scope, err)
			}
		}
	}
	return nil
}

// Bindings give every input of a program its data for one run, as the bytes of
// the input's spec.
type Bindings map[*Value][]byte

// Run uploads the inputs, runs every step once and waits for the end. It
// allocates nothing. A canceled context stops it before it starts. Start is the
// same without the waiting. The inputs' bytes must not change during the call: a
// Lender reads large ones where they are.
func (p *Program) Run(ctx context.Context, in Bindings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer p.lending.end()
	if err := p.upload(in, true); err != nil {
		return err
	}
	if err := p.launch(); err != nil {
		return err
	}
	if err := p.backend.Sync(); err != nil {
		return fmt.Errorf("%s: %w", p.backend.Name(), err)
	}
	return nil
}

// upload writes the inputs to their places. With lend the first step may read them where they
// are instead, until the lending ends.
func (p *Program) upload(in Bindings, lend bool) error {
	if err := p.flights.leave(p); err != nil {
		return err
	}
	for k := range p.inputs {
		i := &p.inputs[k]
		data, err := i.bound(in)
		if err != nil {
			return err
		}
		if lend && p.lending.take(k, data) {
			continue
		}
		if err := i.write(data); err != nil {
			return err
		}
	}
	return nil
}

// write copies the input's data to its place.
func (i *port) write(data []byte) error {
	if err := i.tensor.Write(data); err != nil {
		return fmt.Errorf("input %v: %w", i.value, err)
	}
	return nil
}

// bound returns the input's data.
func (i *port) bound(in Bindings) ([]byte, error) {
	data, ok := in[i.value]
	if !ok {
		return nil, fmt.Errorf("input %v is not bound", i.value)
	}
	if len(data) != i.tensor.Bytes() {
		return nil, fmt.Errorf("input %v: %w: %d bytes given, %d needed", i.value, ErrShape, len(data), i.tensor.Bytes())
	}
	return data, nil
}

// launch enqueues the prepared part, if a variable that it depends on has
// changed since it ran, and all steps; they change the variables that they write.
func (p *Program) launch() error {
	stale := p.seen == nil
	for i, t := range p.fixed {
		stale = stale || t.version != p.seen[i]
	}
	if stale {
		if err := p.replay(p.preparing, p.prepareAll); err != nil {
			return err
		}
		if p.seen == nil {
			p.seen = make([]int, 0, len(p.fixed))
		}
		p.seen = p.seen[:0]
		for _, t := range p.fixed {
			p.seen = append(p.seen, t.version)
		}
	}
	if err := enqueue(p.lending.first); err != nil {
		return err
	}
	if err := p.replay(p.recording, p.rest); err != nil {
		return err
	}
	for _, t := range p.writes {
		t.version++
	}
	return nil
}

// replay replays a recording, or enqueues what it would hold.
func (p *Program) replay(r Recording, enqueue func() error) error {
	if r != nil {
		return r.Replay()
	}
	return enqueue()
}

// Read copies an output to dst, which must have its bytes.
func (p *Program) Read(v *Value, dst []byte) error {
	i, err := p.output(v, dst)
	if err != nil {
		return err
	}
	return p.outputs[i].tensor.Read(dst)
}

// output returns the place of v among the outputs, if dst has its bytes.
func (p *Program) output(v *Value, dst []byte) (int, error) {
	i := slices.IndexFunc(p.outputs, func(o port) bool { return o.value == v })
	if i < 0 {
		return 0, fmt.Errorf("reading %v: not among the program's outputs", v)
	}
	if n := p.outputs[i].tensor.Bytes(); len(dst) != n {
		return 0, fmt.Errorf("reading %v: %w: room for %d bytes, %d needed", v, ErrShape, len(dst), n)
	}
	return i, nil
}

// Plan describes the program.
func (p *Program) Plan() *Plan { return p.info }

// Close waits for the runs that are under way and frees the arena. The store
// keeps its variables. It may be called twice.
func (p *Program) Close() error {
	err := p.flights.close()
	for _, r := range []*Recording{&p.preparing, &p.recording} {
		if *r != nil {
			err = firstError(err, (*r).Close())
			*r = nil
		}
	}
	if p.arena != nil {
		err = firstError(err, p.arena.Close())
		p.arena = nil
	}
	return err
}
