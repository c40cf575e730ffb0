package engine

import (
	"errors"
	"fmt"
)

// Linear is PyTorch's nn.Linear: y = x·w + b, with x [N,I], w [I,O] (the
// transpose of PyTorch's weight), optionally b [O], and y [N,O]. With x
// in bfloat16, w is rounded to bfloat16 before the product (see bfloat16.go).
type Linear struct{}

// Infer implements Op.
func (op Linear) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 && len(in) != 3 {
		return nil, fmt.Errorf("%w: takes x, w and optionally b, got %d inputs", ErrShape, len(in))
	}
	if len(in[0].Shape) != 2 || len(in[1].Shape) != 2 || in[0].Shape[1] != in[1].Shape[0] {
		return nil, fmt.Errorf("%w: x %v, w %v", ErrShape, in[0], in[1])
	}
	o := in[1].Shape[1]
	if len(in) == 3 && !in[2].Equal(F32(o)) {
		return nil, fmt.Errorf("%w: bias %v for %d outputs", ErrShape, in[2], o)
	}
	return []Spec{in[0].as(in[0].Shape[0], o)}, firstError(checkActivations(in[0]), checkWeight(in[1]))
}

// Cost implements Coster.
func (op Linear) Cost(in, out []Spec) int64 { return 2 * int64(out[0].Len()) * int64(in[0].Shape[1]) }

// Backward implements Differentiable.
func (op Linear) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	x, w := n.In[0], n.In[1]
	bias := len(n.In) == 3
	dx := b.One(LinearBackwardData{}, dOut[0], w)
	dw := b.Apply(LinearBackwardWeight{Bias: bias}, x, dOut[0])
	if bias {
		return []*Value{dx, dw[0], dw[1]}, nil
	}
	return []*Value{dx, dw[0]}, nil
}

// LinearBackwardData is dx = dy·wᵀ, from dy [N,O] and w [I,O] to dx [N,I]. Losses
// use it as the product of a matrix and the transpose of another.
type LinearBackwardData struct{}

// Infer implements Op.
func (op LinearBackwardData) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || len(in[0].Shape) != 2 || len(in[1].Shape) != 2 || in[0].Shape[1] != in[1].Shape[1] {
		return nil, fmt.Errorf("%w: takes dy [N,O] and w [I,O], got %v", ErrShape, in)
	}
	return []Spec{in[0].as(in[0].Shape[0], in[1].Shape[0])}, firstError(checkActivations(in[0]), checkWeight(in[1]))
}

// Cost implements Coster.
func (op LinearBackwardData) Cost(in, out []Spec) int64 {
	return 2 * int64(out[0].Len()) * int64(in[0].Shape[1])
}

// Backward implements Differentiable.
func (op LinearBackwardData) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	y, w, d := n.In[0], n.In[1], dOut[0]
	return []*Value{b.One(Linear{}, d, w), b.One(LinearBackwardWeight{}, d, y)}, nil
}

// LinearBackwardWeight is dw = xᵀ·dy, db = Σ_n dy, from x [N,I] and dy [N,O] to
// dw [I,O] and, if Bias, db [O]. Without Bias it is differentiable: the product of
// the transpose of a matrix and another.
type LinearBackwardWeight struct{ Bias bool }

// Infer implements Op.
func (op LinearBackwardWeight) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || len(in[0].Shape) != 2 || len(in[1].Shape) != 2 || in[0].Shape[0] != in[1].Shape[0] {
		return nil, fmt.Errorf("%w: takes x [N,I] and dy [N,O], got %v", ErrShape, in)
	}
	if err := checkActivations(in...); err != nil {
		return nil, err
	}
	i, o := in[0].Shape[1], in[1].Shape[1]
	if op.Bias {
		return []Spec{F32(i, o), F32(o)}, nil
	}
	return []Spec{F32(i, o)}, nil
}

// Cost implements Coster.
func (op LinearBackwardWeight) Cost(in, out []Spec) int64 {
	return 2 * int64(out[0].Len()) * int64(in[0].Shape[0])
}

// Backward implements Differentiable.
func (op LinearBackwardWeight) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	if op.Bias {
		return nil, errors.New("with a bias the operator has no gradient")
	}
	x, y, d := n.In[0], n.In[1], dOut[0]
	return []*Value{b.One(LinearBackwardData{}, y, d), b.One(Linear{}, x, d)}, nil
}
