package engine

import "fmt"

// pair makes sure that there are two activations of one shape.
func pair(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes two inputs of one shape and element type, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in...)
}

// Div is a quotient, element by element: y = a/b of two tensors of one shape.
type Div struct{}

// Infer implements Op.
func (op Div) Infer(in []Spec) ([]Spec, error) { return pair(in) }

// Backward implements Differentiable: da = dy/b, db = -y·da.
func (op Div) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	da := b.One(op, dOut[0], n.In[1])
	db := b.One(Activation{F: Neg}, b.One(Mul{}, n.Out[0], da))
	return []*Value{da, db}, nil
}

// Maximum is the larger of two numbers, element by element, of two tensors of
// one shape; a NaN wins.
type Maximum struct{}

// Infer implements Op.
func (op Maximum) Infer(in []Spec) ([]Spec, error) { return pair(in) }

// Backward implements Differentiable.
func (op Maximum) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return chosen(b, ChosenBackward{}, n, dOut)
}

// Minimum is the smaller of two numbers, element by element, of two tensors of
// one shape; a NaN wins.
type Minimum struct{}

// Infer implements Op.
func (op Minimum) Infer(in []Spec) ([]Spec, error) { return pair(in) }

// Backward implements Differentiable.
func (op Minimum) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return chosen(b, ChosenBackward{Least: true}, n, dOut)
}

func chosen(b *Builder, op ChosenBackward, n *Node, dOut []*Value) ([]*Value, error) {
	p, q := n.In[0], n.In[1]
	return []*Value{b.One(op, p, q, dOut[0]), b.One(op, q, p, dOut[0])}, nil
}

// ChosenBackward is the gradient of Maximum, or with Least of Minimum, with
// respect to its first input. Inputs: a, b, dy of one shape. Output: da, which is
// dy where a is the one that was chosen, dy/2 where both are equal, as in
// PyTorch, else zero.
type ChosenBackward struct{ Least bool }

// Infer implements Op.
func (op ChosenBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 || !in[0].Equal(in[1]) || !in[0].Equal(in[2]) {
		return nil, fmt.Errorf("%w: takes a, b and dy of one shape, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in...)
}
