package engine

import "fmt"

// QAdd is a sum of two tensors of codes, of one shape (see Codes for the rounding):
//
//	y = code((a-A.Zero)·ma + (b-B.Zero)·mb)    ma = A.Scale/Y.Scale, mb = B.Scale/Y.Scale
//
// with quotients, products and the sum each rounded to float32. Inputs: a, b uint8.
// Output: y.
type QAdd struct{ A, B, Y Codes }

// Infer implements Op.
func (op QAdd) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || in[0].DType != Uint8 || !in[0].Equal(in[1]) || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes two inputs of one shape in uint8, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, firstError(op.A.check(), op.B.check(), op.Y.check())
}

// QMul is Mul of codes: b has a's shape, or is [N,1,1,C] or [N,C] beside a
// [N,H,W,C] (see Codes for the rounding):
//
//	y = code((a-A.Zero)·(b-B.Zero)·m)    m = A.Scale·B.Scale/Y.Scale
//
// with the product of the codes exact, and the product and the quotient of the
// scales each rounded to float32. Inputs: a, b uint8. Output: y of a's shape.
type QMul struct{ A, B, Y Codes }

// Infer implements Op.
func (op QMul) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || in[0].DType != Uint8 || in[1].DType != Uint8 || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes two inputs in uint8, got %v", ErrShape, in)
	}
	if op.Each(in[0], in[1]) == 0 {
		return nil, fmt.Errorf("%w: %v times %v", ErrShape, in[0], in[1])
	}
	return []Spec{in[0]}, firstError(op.A.check(), op.B.check(), op.Y.check())
}

// Each returns how many pixels of a one vector of b is for, 1 where the shapes are
// equal, 0 where they do not fit.
func (op QMul) Each(a, b Spec) int {
	n, h, w, c, ok := a.NHWC()
	switch {
	case a.Equal(b):
		return 1
	case ok && (b.Equal(Spec{Shape: []int{n, c}, DType: Uint8}) || b.Equal(Spec{Shape: []int{n, 1, 1, c}, DType: Uint8})):
		return h * w
	}
	return 0
}

// Multiplier returns m.
func (op QMul) Multiplier() float32 { return float32(op.A.Scale*op.B.Scale) / op.Y.Scale }
