package engine

import (
	"fmt"
	"slices"
)

// Reshape gives the elements of a tensor, in the order in which they lie (the last
// axis first), another shape with as many: PyTorch's torch.reshape of a contiguous
// tensor, in the engine's layout NHWC. Input: x. Output: y of the given shape.
type Reshape struct{ Shape []int }

// Infer implements Op.
func (op Reshape) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || F32(op.Shape...).Len() != in[0].Len() {
		return nil, fmt.Errorf("%w: takes x with as many elements as %v, got %v", ErrShape, op.Shape, in)
	}
	return []Spec{in[0].as(slices.Clone(op.Shape)...)}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op Reshape) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(Reshape{Shape: n.In[0].Shape}, dOut[0])}, nil
}
