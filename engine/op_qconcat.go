package engine

import "fmt"

// QConcat is Concat of codes, which all inputs have in common: uint8, [N,H,W,C_k] or
// [N,C_k] to [N,H,W,ΣC_k] or [N,ΣC_k].
type QConcat struct{}

// Infer implements Op.
func (op QConcat) Infer(in []Spec) ([]Spec, error) {
	floats := make([]Spec, len(in))
	for i, s := range in {
		if s.DType != Uint8 {
			return nil, fmt.Errorf("%w: takes inputs in uint8, got %v", ErrShape, in)
		}
		floats[i] = F32(s.Shape...)
	}
	out, err := Concat{}.Infer(floats)
	if err != nil {
		return nil, err
	}
	out[0].DType = Uint8
	return out, nil
}

// QFlatten is Flatten of codes: uint8 [N,H,W,C] to [N,C·H·W] in PyTorch's order,
// element (c·H+h)·W+w.
type QFlatten struct{}

// Infer implements Op.
func (op QFlatten) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Uint8 || len(in[0].Shape) != 4 || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes x (NHWC) in uint8, got %v", ErrShape, in)
	}
	return []Spec{{Shape: []int{in[0].Shape[0], in[0].Len() / in[0].Shape[0]}, DType: Uint8}}, nil
}
