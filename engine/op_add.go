package engine

import "fmt"

// Add is the weighted sum of tensors of one shape: y = Σ_k Weights[k]·x_k. Nil
// Weights are all ones: two inputs then make a residual connection.
type Add struct{ Weights []float32 }

// Infer implements Op.
func (op Add) Infer(in []Spec) ([]Spec, error) {
	if len(in) == 0 || op.Weights != nil && len(op.Weights) != len(in) {
		return nil, fmt.Errorf("%w: %d weights for %d inputs", ErrShape, len(op.Weights), len(in))
	}
	for _, s := range in {
		if !s.Equal(in[0]) {
			return nil, fmt.Errorf("%w: takes inputs of one shape and element type, got %v", ErrShape, in)
		}
	}
	return []Spec{in[0]}, checkActivations(in[0])
}

// Weight returns the factor of input k.
func (op Add) Weight(k int) float32 {
	if op.Weights == nil {
		return 1
	}
	return op.Weights[k]
}

// Backward implements Differentiable.
func (op Add) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	d := make([]*Value, len(n.In))
	for k := range d {
		d[k] = dOut[0]
		if w := op.Weight(k); w != 1 {
			d[k] = b.One(Add{Weights: []float32{w}}, dOut[0])
		}
	}
	return d, nil
}

// Fill makes a float32 tensor of one value, without inputs.
type Fill struct {
	Value float32
	Shape []int
}

// Infer implements Op.
func (op Fill) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 0 {
		return nil, fmt.Errorf("%w: takes no inputs, got %v", ErrShape, in)
	}
	return []Spec{F32(op.Shape...)}, nil
}
