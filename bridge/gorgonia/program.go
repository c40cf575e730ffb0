package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A Program is a Gorgonia graph compiled for a backend of Potstill's. It takes
// the place of a gorgonia.VM: values are bound to the graph's inputs with
// gorgonia.Let, Run computes, and the results are the values of the output
// nodes, gradients those of Node.Grad. Its methods must not be called at the
// same time.
type Program struct {
	p       *engine.Program
	backend engine.Backend
	store   *engine.Store
	own     []func() error // closes what the program made itself

	leaves         []*leaf
	norms          []*norm
	modes          []mode
	outputs, grads []*output
	bindings       engine.Bindings
}

// An output is a value or a gradient that is read after a run.
type output struct {
	node         *G.Node // for gradients the node that they are with respect to
	value        *engine.Value
	layout       layout
	softmax, log bool
	raw, data    []float32     // as the engine has it; in Gorgonia's order
	dense        *tensor.Dense // over data; nil for scalars
}

// Run computes the outputs and gradients from the values that are bound to the
// graph's inputs. Images are NCHW and filters OIHW, as everywhere in Gorgonia;
// they are transposed on the way in and out, at every run for what is data.
// Parameters are uploaded when their values differ from what was uploaded
// last, so that a solver of Gorgonia's may step them in place.
//
// After it, Value of an output node returns its result and Grad of an input
// that gradients were asked for the gradient; both are overwritten by the next
// Run. The running statistics of a BatchNorm in training are those of
// its operator, before and after.
func (p *Program) Run(ctx context.Context) error {
	for _, m := range p.modes {
		name := "training"
		if kind(m.node) == "dropoutOp" {
			name = "isTraining"
		}
		if f := fieldsOf(m.node.Op()); f.bool(name) != m.training {
			return fmt.Errorf("node %s: its training flag has changed since it was compiled: compile again", describe(m.node))
		}
	}
	for _, f := range p.leaves {
		if err := f.upload(p.store); err != nil {
			return fmt.Errorf("input %s: %w", describe(f.node), err)
		}
	}
	for _, m := range p.norms {
		if err := m.upload(p.store); err != nil {
			return err
		}
	}
	if err := p.p.Run(ctx, p.bindings); err != nil {
		return err
	}
	for _, m := range p.norms {
		if err := m.download(p.store); err != nil {
			return fmt.Errorf("node %s: %w", describe(m.node), err)
		}
	}
	for _, o := range p.outputs {
		if err := o.read(p.p); err != nil {
			return err
		}
		if err := o.bind(); err != nil {
			return fmt.Errorf("node %s: %w", describe(o.node), err)
		}
	}
	for _, o := range p.grads {
		if err := o.read(p.p); err != nil {
			return err
		}
		if err := o.bindGrad(); err != nil {
			return fmt.Errorf("gradient of input %s: %w", describe(o.node), err)
		}
	}
	return nil
}

// upload stages the value that is bound to the input.
func (f *leaf) upload(s *engine.Store) error {
	v := f.node.Value()
	if v == nil {
		return errors.New("no value is bound to it; use gorgonia.Let or WithValue")
	}
	data, err := denseOf(v, f.node.Shape())
	if err != nil {
		return err
	}
	if f.variable == nil {
		f.layout.toEngine(f.staged, data, f.node.Shape())
		return nil
	}
	if f.ready && sameBits(f.last, data) {
		return nil
	}
	f.layout.toEngine(f.staged, data, f.node.Shape())
	if err := s.Set(f.variable, engine.Bytes(f.staged)); err != nil {
		return err
	}
	copy(f.last, data)
	f.ready = true
	return nil
}

// read copies the result to data, in Gorgonia's order.
func (o *output) read(p *engine.Program) error {
	if err := p.Read(o.value, engine.Bytes(o.raw)); err != nil {
		return err
	}
	if o.softmax {
		softmaxRows(o.data, o.raw, o.node.Shape()[1], o.log)
		return nil
	}
	o.layout.toGorgonia(o.data, o.raw, o.node.Shape())
	return nil
}

// bind makes data the node's value.
func (o *output) bind() error {
	if o.dense == nil {
		return G.UnsafeLet(o.node, G.NewF32(o.data[0]))
	}
	if o.node.Value() == G.Value(o.dense) {
		return nil
	}
	return G.UnsafeLet(o.node, o.dense)
}

// bindGrad makes data the gradient of the input, as gorgonia.BindDualValues
// would.
func (o *output) bindGrad() (err error) {
	defer func() {
		if r := recover(); r != nil { // WithGrad panics where values do not fit
			err = fmt.Errorf("binding it: %v", r)
		}
	}()
	if d, err := o.node.Grad(); err == nil && d == G.Value(o.dense) {
		return nil
	}
	G.WithGrad(o.dense)(o.node)
	return nil
}

// softmaxRows takes the softmax, or its logarithm, of each row of k elements:
// exp(x - m)/Σ exp(x - m) with m the row's largest, in float64.
func softmaxRows(dst, src []float32, k int, log bool) {
	for at := 0; at < len(src); at += k {
		row, out := src[at:at+k], dst[at:at+k]
		top := float64(row[0])
		for _, x := range row {
			top = max(top, float64(x))
		}
		sum := 0.0
		for _, x := range row {
			sum += math.Exp(float64(x) - top)
		}
		for i, x := range row {
			if log {
				out[i] = float32(float64(x) - top - math.Log(sum))
			} else {
				out[i] = float32(math.Exp(float64(x)-top) / sum)
			}
		}
	}
}

// sameBits compares two slices of one length without regard to what a NaN is.
func sameBits(a, b []float32) bool { return bytes.Equal(engine.Bytes(a), engine.Bytes(b)) }

// Variable returns the engine's variable that holds input n, nil for inputs
// that are uploaded at every run. A filter is HWIO there, see package engine.
func (p *Program) Variable(n *G.Node) *engine.Variable {
	for _, f := range p.leaves {
		if f.node == n {
			return f.variable
		}
	}
	return nil
}

// Store returns the store of the program's variables.
func (p *Program) Store() *engine.Store { return p.store }

// Plan describes the engine's program: its steps, what was fused, its memory.
func (p *Program) Plan() *engine.Plan { return p.p.Plan() }

// Close frees what the program holds. Values that it has bound to nodes stay.
// It may be called twice.
func (p *Program) Close() error {
	var all []error
	if p.p != nil {
		all = append(all, p.p.Close())
	}
	for i := len(p.own) - 1; i >= 0; i-- {
		all = append(all, p.own[i]())
	}
	p.own = nil
	return errors.Join(all...)
}
