package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// A Layer is a part of a net. The types of this package implement it, and a
// library user may add others: a layer is anything that adds nodes to a graph
// and can name its tensors.
type Layer interface {
	// Name returns the layer's path in PyTorch's state_dict, as in "cnn.1.3".
	Name() string
	// Slots returns the layer's tensors in the order of the state_dict.
	Slots() []Slot
	// Forward adds the layer to b's graph. x is NHWC, or [N,C] behind the
	// global pooling. With train, BatchNorm2d uses and moves the batch's
	// statistics and Dropout drops. Errors go to b.
	Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value
}

// A Slot is one tensor of a state_dict: the variable that stands for it, how
// PyTorch lays it out, and how it starts.
type Slot struct {
	// Variable has PyTorch's name and the engine's shape.
	Variable *engine.Variable
	Layout   Layout
	Init     Init
}

// Shape returns PyTorch's shape of the tensor.
func (s Slot) Shape() []int { return s.Layout.Torch(s.Variable.Shape) }

// A container is a layer made of layers.
type container interface {
	Layer
	// children returns the parts in the order of the state_dict.
	children() []Layer
	// trace is Forward that calls f, unless it is nil, after each leaf.
	trace(b *engine.Builder, x *engine.Value, train bool, f func(l Layer, y *engine.Value)) *engine.Value
}

// trace runs l's Forward and reports leaves, and containers that PyTorch
// counts as modules of their own, to f.
func trace(l Layer, b *engine.Builder, x *engine.Value, train bool, f func(l Layer, y *engine.Value)) *engine.Value {
	if c, ok := l.(container); ok {
		return c.trace(b, x, train, f)
	}
	y := l.Forward(b, x, train)
	if f != nil {
		f(l, y)
	}
	return y
}

// A checker is a layer that can tell, before it meets data, that its settings
// are wrong.
type checker interface{ check() error }

// check returns the first error among l's settings and those of its parts.
func check(l Layer) error {
	if c, ok := l.(checker); ok {
		if err := c.check(); err != nil {
			return err
		}
	}
	if c, ok := l.(container); ok {
		for _, part := range c.children() {
			if part == nil {
				return fmt.Errorf("%s: a layer is nil", l.Name())
			}
			if err := check(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// slots concatenates the slots of layers.
func slots(ls []Layer) []Slot {
	var out []Slot
	for _, l := range ls {
		out = append(out, l.Slots()...)
	}
	return out
}

// base is the part that all layers have in common.
type base struct{ name string }

// Name implements Layer.
func (l base) Name() string { return l.name }

// Slots implements Layer for layers without tensors.
func (l base) Slots() []Slot { return nil }

// one adds a node in the layer's scope.
func (l base) one(b *engine.Builder, op engine.Op, in ...*engine.Value) *engine.Value {
	defer b.Scope(l.name)()
	return b.One(op, in...)
}

// parameter returns the slot of a trainable float32 tensor.
func (l base) parameter(name string, layout Layout, init Init, shape ...int) Slot {
	return Slot{
		Variable: &engine.Variable{Name: l.name + "." + name, Spec: engine.F32(shape...), Trainable: true},
		Layout:   layout,
		Init:     init,
	}
}
