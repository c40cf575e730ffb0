package engine

import (
	"context"
	"fmt"
)

// Options say how a graph is compiled.
type Options struct {
	// Store holds the variables. It must belong to the backend.
	Store *Store
	// Outputs are the values to be read after a run.
	Outputs []*Value
	// NoFuse leaves every operator as it was written.
	NoFuse bool
	// Int8 lets pointwise convolutions behind a ReLU6 compute in integers, where
	// the backend has them, on weights that were quantised in the given way.
	Int8 Int8
}

// A Program is a graph compiled for one backend: its steps in order, every
// tensor at a fixed place in one arena.
type Program struct {
	backend Backend
	store   *Store
	plan    *plan
	info    *Plan
	arena   Buffer
	inputs  map[*Value]Tensor
	outputs map[*Value]Tensor
	writes  bool  // overwrites variables
	version int64 // the store's version when prepare ran

	prepare, steps []bound
	recording      Recording
}

// A bound step is a kernel with its tensors.
type bound struct {
	step    *step
	in, out []Tensor
	ws      Tensor
}

// Compile plans the graph for a backend: unneeded steps are dropped, chains
// fused, constant work hoisted, tensors placed. Nodes that update variables
// always stay.
func (g *Graph) Compile(b Backend, o Options) (*Program, error) {
	if o.Store == nil {
		o.Store = NewStore(b)
	}
	if o.Store.backend != b {
		return nil, fmt.Errorf("compiling for %s: the store belongs to %s", b.Name(), o.Store.backend.Name())
	}
	p := newPlan(g, b, o.Outputs)
	a, err := p.aliases()
	if err != nil {
		return nil, err
	}
	p.drop()
	if !o.NoFuse {
		p.fuse()
		p.int8(o.Int8)
	}
	if err := p.checkUpdates(a); err != nil {
		return nil, err
	}
	p.hoist(a)
	for _, s := range p.all() {
		if s.kernel, err = b.Compile(s.op, specsOf(s.in), specsOf(s.out)); err != nil {
			return nil, fmt.Errorf("%s: %s%v (%s): %w", b.Name(), OpName(s.op), specsOf(s.in), s.scope, err)
		}
	}
	return newProgram(p, a, o)
}

// all returns the hoisted steps and the others.
func (p *plan) all() []*step { return append(append([]*step{}, p.prepare...), p.steps...) }

func newProgram(p *plan, a aliases, o Options) (*Program, error) {
	blocks := p.lifetimes(a)
	size := place(blocks)
	prog := &Program{backend: p.backend, store: o.Store, plan: p, version: -1,
		inputs: make(map[*Value]Tensor), outputs: make(map[*Value]Tensor)}
	var err error
	if prog.arena, err = p.backend.Alloc(max(size, align)); err != nil {
		return nil, fmt.Errorf("%s: an arena of %d bytes for the plan: %w", p.backend.Name(), size, err)
	}
	if err := prog.bind(blocks, a); err != nil {
		return nil, firstError(err, prog.Close())
	}
	prog.info = describe(p, blocks, size, a)
	if r, ok := p.backend.(Recorder); ok {
		prog.recording, err = r.Record(func() error { return enqueue(prog.steps) })
		if err != nil {
			return nil, firstError(fmt.Errorf("%s: recording the plan: %w", p.backend.Name(), err), prog.Close())
		}
	}
	return prog, nil
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
func (p *Program) bind(blocks []*block, a aliases) error {
	places := make(map[*Value]int)
	scratch := make(map[int]Tensor)
	var prepareScratch []Tensor
	for _, b := range blocks {
		ws := Tensor{Spec: Spec{Shape: []int{b.bytes}, DType: Uint8}, Buf: p.arena, Off: b.off}
		switch {
		case b.value != nil:
			places[b.value] = b.off
		case b.step >= 0:
			scratch[b.step] = ws
		default:
			prepareScratch = append(prepareScratch, ws)
		}
	}
	tensor := func(v *Value) (Tensor, error) {
		r := a.root(v)
		if r.variable != nil {
			return p.store.Tensor(r.variable)
		}
		return Tensor{Spec: v.Spec, Buf: p.arena, Off: places[r]}, nil
	}
	bindStep := func(s *step, ws Tensor) (bound, error) {
		bs := bound{step: s, ws: ws}
		for _, v := range s.in {
			t, err := tensor(v)
			if err != nil {
				return bs, err
			}
			bs.in = append(bs.in, t)
			if v.input {
				p.inputs[v] = t
			}
		}
		for _, v := range s.out {
			t, err := tensor(v)
			if err != nil {
				return bs, err
			}
			bs.out = append(bs.out, t)
			p.writes = p.writes || a.root(v) != v
		}
		return bs, nil
	}
	for _, s := range p.plan.prepare {
		var ws Tensor
		if s.kernel.Workspace() > 0 {
			ws, prepareScratch = prepareScratch[0], prepareScratch[1:]
		}
		bs, err := bindStep(s, ws)
		if err != nil {
			return err
		}
		p.prepare = append(p.prepare, bs)
	}
	for i, s := range p.plan.steps {
		bs, err := bindStep(s, scratch[i])
		if err != nil {
			return err
		}
		p.steps = append(p.steps, bs)
	}
	for _, v := range p.plan.outputs {
		t, err := tensor(v)
		if err != nil {
			return err
		}
		p.outputs[v] = t
		if v.input {
			p.inputs[v] = t
		}
	}
	return nil
}

// enqueue puts bound steps in the device's queue.
func enqueue(steps []bound) error {
	for i := range steps {
		s := &steps[i]
		if err := s.step.kernel.Enqueue(s.in, s.out, s.ws); err != nil {
			return fmt.Errorf("%s (%s): %w", OpName(s.step.op), s.step.scope, err)
		}
	}
	return nil
}

// Bindings give every input of a program its data for one run, as the bytes of
// the input's spec.
type Bindings map[*Value][]byte

// Run uploads the inputs, runs every step once and waits for the end. It
// allocates nothing. A cancelled context stops it before it starts.
func (p *Program) Run(ctx context.Context, in Bindings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for v, t := range p.inputs {
		data, ok := in[v]
		if !ok {
			return fmt.Errorf("input %v is not bound", v)
		}
		if len(data) != t.Bytes() {
			return fmt.Errorf("input %v: %w: %d bytes given, %d needed", v, ErrShape, len(data), t.Bytes())
		}
		if err := t.Write(data); err != nil {
			return fmt.Errorf("input %v: %w", v, err)
		}
	}
	if err := p.launch(); err != nil {
		return err
	}
	if p.writes {
		p.store.version.Add(1)
	}
	if err := p.backend.Sync(); err != nil {
		return fmt.Errorf("%s: %w", p.backend.Name(), err)
	}
	return nil
}

// launch enqueues the hoisted steps, if a variable has changed since they ran,
// and all others.
func (p *Program) launch() error {
	if v := p.store.version.Load(); v != p.version && len(p.prepare) > 0 {
		if err := enqueue(p.prepare); err != nil {
			return err
		}
		p.version = v
	}
	if p.recording != nil {
		return p.recording.Replay()
	}
	return enqueue(p.steps)
}

// Read copies an output to dst, which must have its bytes.
func (p *Program) Read(v *Value, dst []byte) error {
	t, ok := p.outputs[v]
	if !ok {
		return fmt.Errorf("reading %v: not among the program's outputs", v)
	}
	if len(dst) != t.Bytes() {
		return fmt.Errorf("reading %v: %w: room for %d bytes, %d needed", v, ErrShape, len(dst), t.Bytes())
	}
	return t.Read(dst)
}

// Plan describes the program.
func (p *Program) Plan() *Plan { return p.info }

// Close frees the arena. The store keeps its variables. It may be called twice.
func (p *Program) Close() error {
	var err error
	if p.recording != nil {
		err = p.recording.Close()
		p.recording = nil
	}
	if p.arena != nil {
		err = firstError(err, p.arena.Close())
		p.arena = nil
	}
	return err
}
