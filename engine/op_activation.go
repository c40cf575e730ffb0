package engine

import "fmt"

// Activation is y = f(x), element by element, on a tensor of any shape. A NaN
// stays a NaN.
type Activation struct{ F Act }

// Infer implements Op.
func (op Activation) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes one input, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, firstError(op.F.check(), checkActivations(in[0]))
}

// Backward implements Differentiable.
func (op Activation) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	from := n.Out[0]
	if op.F.FromX() {
		from = n.In[0]
	}
	return []*Value{b.One(ActivationBackward(op), from, dOut[0])}, nil
}

// ActivationBackward is dx = dy·f'(x). Its inputs are dy and before it, as
// Act.FromX has it, either x or y = f(x), from which f' is computed; the slopes
// at corners are PyTorch's (see Func). Where the slope is zero by a comparison,
// as below zero for ReLU, dx is zero whatever dy is.
type ActivationBackward struct{ F Act }

// Infer implements Op.
func (op ActivationBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes x or y and dy of one shape, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, firstError(op.F.check(), checkActivations(in[0]))
}
