package engine

import "fmt"

// Pack brings weights into the forms in which kernels want them, for several
// kernels at once. Only the planner makes it, of a [Packer]'s kernels; its inputs
// are what these prepare themselves from, kernel by kernel, and its outputs are
// bytes, as many as Bytes has for each.
type Pack struct{ Bytes []int }

// Infer implements Op.
func (op Pack) Infer(in []Spec) ([]Spec, error) {
	if len(in) == 0 || len(op.Bytes) == 0 {
		return nil, fmt.Errorf("%w: takes weights for kernels, got %d inputs for %d", ErrShape, len(in), len(op.Bytes))
	}
	out := make([]Spec, len(op.Bytes))
	for i, n := range op.Bytes {
		out[i] = Spec{Shape: []int{n}, DType: Uint8}
	}
	return out, nil
}
