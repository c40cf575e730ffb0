package engine

import "fmt"

// Detach is a copy of a tensor that no gradient passes: PyTorch's detach().clone(). A
// copy of a variable keeps its value for what comes after an update. Input: x. Output: y
// of its spec.
type Detach struct{}

// Infer implements Op.
func (op Detach) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in[0])
}
