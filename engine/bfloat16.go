package engine

import "fmt"

// Mixed precision: activations and their gradients may be stored as bfloat16,
// all of an op's alike, and are then rounded once when they are written; the
// arithmetic is that of float32. Weights, biases, the vectors and statistics of
// the normalizations, the gradients of parameters and losses are float32 always.
// GlobalAvgPool makes float32 of bfloat16, and Cast takes either to the other.
// Where x is bfloat16, Conv2D and Linear and their gradients to x round w to
// bfloat16 before the product, as tensor cores do; a backend may leave that out.
// Three further roundings are left to a backend, as PyTorch's autocast has them:
// Conv2D and Linear may round the bias to bfloat16, and the product before bias
// and residual are added to it, and Conv2DBackwardWeight may round dw to
// bfloat16 before it is stored as float32. All sums are those of float32.

// as returns a spec of the given shape with the element type of s.
func (s Spec) as(shape ...int) Spec { return Spec{Shape: shape, DType: s.DType} }

// checkActivations makes sure that specs are float32 or bfloat16, all alike.
func checkActivations(specs ...Spec) error {
	for _, s := range specs {
		if s.DType != Float32 && s.DType != BFloat16 {
			return fmt.Errorf("%w: activations are float32 or bfloat16, got %v", ErrShape, s)
		}
		if s.DType != specs[0].DType {
			return fmt.Errorf("%w: activations of two element types, %v and %v; Cast makes them alike", ErrShape, specs[0], s)
		}
	}
	return nil
}

// checkWeight makes sure that a weight is float32.
func checkWeight(w Spec) error {
	if w.DType != Float32 {
		return fmt.Errorf("%w: weights are float32, got %v", ErrShape, w)
	}
	return nil
}
