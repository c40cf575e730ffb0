package engine

import "fmt"

// QMaxPool2D is MaxPool2D of codes: the largest code of each window, where padding is
// not looked at. Input: x [N,H,W,C] uint8. Output: y, with x's codes.
type QMaxPool2D struct{ Window }

// Infer implements Op.
func (op QMaxPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Uint8 {
		return nil, fmt.Errorf("%w: takes x in uint8, got %v", ErrShape, in)
	}
	y, err := op.infer(F32(in[0].Shape...))
	y.DType = Uint8
	return []Spec{y}, err
}

// QAvgPool2D is AvgPool2D of codes (see Codes for the rounding). With the sum over
// the pixels of a window that lie in the picture, exact in int32, and the divisor d
// that AvgPool2D has there,
//
//	y = code(float32(Σ(x-X.Zero))·(m/d))    m = X.Scale/Y.Scale
//
// with quotients rounded to float32. Input: x [N,H,W,C] uint8. Output: y.
type QAvgPool2D struct {
	Pool AvgPool2D
	X, Y Codes
}

// Infer implements Op.
func (op QAvgPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Uint8 {
		return nil, fmt.Errorf("%w: takes x in uint8, got %v", ErrShape, in)
	}
	y, err := op.Pool.infer(F32(in[0].Shape...))
	y.DType = Uint8
	return []Spec{y}, firstError(err, op.X.check(), op.Y.check())
}

// QGlobalAvgPool is GlobalAvgPool of codes: QAvgPool2D with a window of the whole
// picture. Input: x [N,H,W,C] uint8. Output: y [N,C], or [N,1,1,C] with KeepDims.
type QGlobalAvgPool struct {
	KeepDims bool
	X, Y     Codes
}

// Infer implements Op.
func (op QGlobalAvgPool) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Uint8 || len(in[0].Shape) != 4 || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes x (NHWC) in uint8, got %v", ErrShape, in)
	}
	y := Spec{Shape: []int{in[0].Shape[0], in[0].Shape[3]}, DType: Uint8}
	if op.KeepDims {
		y.Shape = []int{in[0].Shape[0], 1, 1, in[0].Shape[3]}
	}
	return []Spec{y}, firstError(op.X.check(), op.Y.check())
}
