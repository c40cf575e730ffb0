package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Kernels makes operators for Gorgonia's graphs that run on Potstill's kernels:
// Conv2d with groups and dilation, DepthwiseConv2d, BatchNorm2d and ReLU6, each
// with its gradient. The graph is run by Gorgonia's own machines; Close only
// when they are done with it.
//
// Every operator transposes its images from NCHW to NHWC and back, and its
// result is a new tensor at every run. A net that consists of such operators
// and of what Compile knows runs faster compiled.
type Kernels struct {
	mu      sync.Mutex
	backend engine.Backend
	store   *engine.Store
	own     bool
	units   []*unit
	closed  bool
}

// NewKernels returns operators on backend b, which stays the caller's to
// close; nil means a CPU backend of its own, on all threads.
func NewKernels(b engine.Backend) (*Kernels, error) {
	k := &Kernels{backend: b}
	if b == nil {
		c, err := cpu.New(cpu.Options{})
		if err != nil {
			return nil, fmt.Errorf("kernels for Gorgonia: %w", err)
		}
		k.backend, k.own = c, true
	}
	k.store = engine.NewStore(k.backend)
	return k, nil
}

// Close frees the memory of every operator. It may be called twice.
func (k *Kernels) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	var all []error
	for _, u := range k.units {
		all = append(all, u.p.Close())
	}
	all = append(all, k.store.Close())
	if k.own {
		all = append(all, k.backend.Close())
	}
	return errors.Join(all...)
}

// A port is an input or output of a unit.
type port struct {
	shape    tensor.Shape // Gorgonia's
	layout   layout
	variable *engine.Variable // for state that stays in the store
}

// A unit is one operator of the engine, compiled, with the memory for its
// inputs and outputs on the host.
type unit struct {
	p        *engine.Program
	in, out  []port
	values   []*engine.Value
	staged   [][]float32 // of the inputs; nil for variables
	raw      [][]float32 // of the outputs
	bindings engine.Bindings
}

// unit compiles op; k.mu is held. Outputs beyond out are dropped.
func (k *Kernels) unit(op engine.Op, in, out []port) (*unit, error) {
	if k.closed {
		return nil, errors.New("the kernels are closed")
	}
	g := engine.NewGraph()
	b := engine.NewBuilder(g)
	u := &unit{in: in, out: out, bindings: make(engine.Bindings)}
	var args []*engine.Value
	for i, p := range in {
		if p.variable != nil {
			args = append(args, b.Variable(p.variable))
			u.staged = append(u.staged, nil)
			continue
		}
		s := p.layout.spec(p.shape)
		v := b.Input(fmt.Sprint("input ", i), s)
		data := make([]float32, s.Len())
		args, u.staged, u.bindings[v] = append(args, v), append(u.staged, data), engine.Bytes(data)
	}
	results := b.Apply(op, args...)
	if err := b.Err(); err != nil {
		return nil, err
	}
	u.values = results[:len(out)]
	for _, v := range u.values {
		u.raw = append(u.raw, make([]float32, v.Len()))
	}
	var err error
	if u.p, err = g.Compile(k.backend, engine.Options{Store: k.store, Outputs: u.values}); err != nil {
		return nil, err
	}
	k.units = append(k.units, u)
	return u, nil
}

// run computes the outputs from the inputs that are not variables, which leaves
// them in raw; k.mu is held.
func (u *unit) run(k *Kernels, values ...G.Value) error {
	if k.closed {
		return errors.New("the kernels are closed")
	}
	i := 0
	for j, p := range u.in {
		if p.variable != nil {
			continue
		}
		if i >= len(values) {
			return fmt.Errorf("%d inputs given", len(values))
		}
		data, err := u.read(values[i], p)
		if err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
		p.layout.toEngine(u.staged[j], data, p.shape)
		i++
	}
	if err := u.p.Run(context.Background(), u.bindings); err != nil {
		return err
	}
	for i, v := range u.values {
		if err := u.p.Read(v, engine.Bytes(u.raw[i])); err != nil {
			return err
		}
	}
	return nil
}

// read returns a value's elements; a view, as Gorgonia's machines pass them, is
// copied.
func (u *unit) read(v G.Value, p port) ([]float32, error) {
	if d, ok := v.(*tensor.Dense); ok && d.RequiresIterator() {
		if m, ok := d.Materialize().(*tensor.Dense); ok {
			v = m
		}
	}
	return denseOf(v, p.shape)
}

// result returns output i as a new tensor.
func (u *unit) result(i int) *tensor.Dense {
	p := u.out[i]
	data := make([]float32, len(u.raw[i]))
	p.layout.toGorgonia(data, u.raw[i], p.shape)
	return tensor.New(tensor.WithShape(p.shape.Clone()...), tensor.WithBacking(data))
}
