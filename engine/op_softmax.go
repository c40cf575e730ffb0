package engine

import "fmt"

// Softmax is e^x_c / Σ_k e^x_k over the channels, the last axis, of x [N,H,W,C]
// or [N,C], or with Log its logarithm: PyTorch's nn.Softmax and nn.LogSoftmax over
// the channels. Output: y, of x's shape.
type Softmax struct{ Log bool }

// Infer implements Op.
func (op Softmax) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes one input, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkLastAxis(in[0])
}

// Backward implements Differentiable.
func (op Softmax) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(SoftmaxBackward(op), n.Out[0], dOut[0])}, nil
}

// SoftmaxBackward is the gradient of Softmax. Inputs: y, dy of one shape. With
// sums over the channels of a pixel:
//
//	dx = y·(dy - Σdy·y)    with Log: dx = dy - e^y·Σdy
type SoftmaxBackward struct{ Log bool }

// Infer implements Op.
func (op SoftmaxBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes y and dy of one shape, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkLastAxis(in[0])
}
