package engine

import "fmt"

// Cast is y = x in another element type, on a tensor of any shape: between
// Float32 and BFloat16, in either direction. To bfloat16 it rounds to the
// nearest, the even one of two equally near; a NaN stays a NaN.
type Cast struct{ To DType }

// Infer implements Op.
func (op Cast) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	if op.To != Float32 && op.To != BFloat16 {
		return nil, fmt.Errorf("%w: casts to float32 or bfloat16, not to number %d of the element types", ErrShape, op.To)
	}
	return []Spec{{Shape: in[0].Shape, DType: op.To}}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op Cast) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(Cast{To: n.In[0].DType}, dOut[0])}, nil
}
