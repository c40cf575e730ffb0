package engine

import "fmt"

// An Act names an element-wise activation.
type Act uint8

// The activations.
const (
	Identity Act = iota
	ReLU         // max(x, 0)
	ReLU6        // min(max(x, 0), 6)
)

func (a Act) String() string { return [...]string{"Identity", "ReLU", "ReLU6"}[a] }

// Activation is y = f(x), element by element, on a tensor of any shape. A NaN
// stays a NaN.
type Activation struct{ F Act }

// Infer implements Op.
func (op Activation) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || op.F > ReLU6 {
		return nil, fmt.Errorf("%w: takes one input, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op Activation) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(ActivationBackward(op), n.Out[0], dOut[0])}, nil
}

// ActivationBackward is dx from y and dy: dy where the slope is one, else
// zero. The slope is one for 0 < y (ReLU) and 0 < y < 6 (ReLU6), PyTorch's
// choice at the corners.
type ActivationBackward struct{ F Act }

// Infer implements Op.
func (op ActivationBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes y and dy of one shape, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in[0])
}
