package engine

import "fmt"

// Flatten is PyTorch's nn.Flatten of an image: [N,H,W,C] to [N,C·H·W] in
// PyTorch's order, y[n, (c·H+h)·W+w] = x[n,h,w,c], so that the weights of a
// Linear behind it are PyTorch's.
type Flatten struct{}

// Infer implements Op.
func (op Flatten) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(in[0].Shape) != 4 {
		return nil, fmt.Errorf("%w: takes x (NHWC), got %v", ErrShape, in)
	}
	s := in[0].Shape
	return []Spec{in[0].as(s[0], s[1]*s[2]*s[3])}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op Flatten) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(FlattenBackward{X: n.In[0].Spec}, dOut[0])}, nil
}

// FlattenBackward is Flatten's inverse, from [N,C·H·W] to X.
type FlattenBackward struct{ X Spec }

// Infer implements Op.
func (op FlattenBackward) Infer(in []Spec) ([]Spec, error) {
	y, err := Flatten{}.Infer([]Spec{op.X})
	if err != nil {
		return nil, err
	}
	if len(in) != 1 || !in[0].Equal(y[0]) {
		return nil, fmt.Errorf("%w: dy %v for x %v", ErrShape, in, op.X)
	}
	return []Spec{op.X}, nil
}

// Backward implements Differentiable.
func (op FlattenBackward) Backward(b *Builder, _ *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(Flatten{}, dOut[0])}, nil
}
