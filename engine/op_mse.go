package engine

import "fmt"

// MSE is PyTorch's nn.MSELoss, the mean of the squared differences over all n
// elements:
//
//	loss = 1/n · Σ_i (x_i - y_i)²
//
// Inputs: x and y of one spec, of any shape. Output: a scalar of float32.
type MSE struct{}

// Infer implements Op.
func (op MSE) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes x and y of one spec, got %v", ErrShape, in)
	}
	return []Spec{F32()}, checkActivations(in[0])
}

// Backward implements Differentiable. The gradient of y is that of x with the
// other sign.
func (op MSE) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	dx := b.One(MSEBackward{}, n.In[0], n.In[1], dOut[0])
	return []*Value{dx, b.One(Add{Weights: []float32{-1}}, dx)}, nil
}

// MSEBackward takes x, y and the scalar dloss to dx_i = dloss·2/n · (x_i - y_i).
type MSEBackward struct{}

// Infer implements Op.
func (op MSEBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 || !in[0].Equal(in[1]) || !in[2].Equal(F32()) {
		return nil, fmt.Errorf("%w: takes x and y of one spec and a scalar, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in[0])
}
