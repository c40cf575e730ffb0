package engine

import (
	"fmt"
	"math"
)

// A Codes says which integers a tensor's codes are and what they stand for: code q,
// from Lo to Hi in uint8, stands for (q-Zero)·Scale.
//
// Every op on codes rounds in one way only. A number v in float32, of codes of the
// output less their zero point, becomes the code
//
//	code(v) = round(min(max(v, Lo-Zero), Hi-Zero)) + Zero
//
// with halves rounded to the even integer; so an activation that clamps (ReLU,
// ReLU6) is a narrower Lo and Hi. Sums of products are exact in int32, their
// conversion to float32 and each multiplication of float32 rounds to nearest, and
// nothing is contracted. So codes have the same bits on every backend, and with any
// number of threads. It is how ONNX Runtime rounds, too.
type Codes struct {
	Scale        float32
	Zero, Lo, Hi int32
}

func (c Codes) check() error {
	if !(c.Scale > 0) || math.IsInf(float64(c.Scale), 0) || c.Lo < 0 || c.Hi > 255 || c.Lo > c.Hi || c.Zero < 0 || c.Zero > 255 {
		return fmt.Errorf("%w: codes %+v", ErrShape, c)
	}
	return nil
}

// Quantize gives the codes of x, float32 of any shape: y = code(x/Scale), where the
// quotient is rounded to float32. A NaN becomes the least code. Output: y uint8.
type Quantize struct{ Y Codes }

// Infer implements Op.
func (op Quantize) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Float32 || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes x in float32, got %v", ErrShape, in)
	}
	return []Spec{{Shape: in[0].Shape, DType: Uint8}}, op.Y.check()
}

// Dequantize is what codes stand for: y = (x-Zero)·Scale. Input: x uint8 of any
// shape. Output: y float32.
type Dequantize struct{ X Codes }

// Infer implements Op.
func (op Dequantize) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || in[0].DType != Uint8 || in[0].Len() < 1 {
		return nil, fmt.Errorf("%w: takes x in uint8, got %v", ErrShape, in)
	}
	return []Spec{F32(in[0].Shape...)}, op.X.check()
}

// Lookup replaces every code by another: y = table[x]. Any function of one number is
// a table of 256 codes. Inputs: x uint8 of any shape, table [256] uint8. Output: y.
type Lookup struct{}

// Infer implements Op.
func (op Lookup) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || in[0].DType != Uint8 || in[0].Len() < 1 || !in[1].Equal(Spec{Shape: []int{256}, DType: Uint8}) {
		return nil, fmt.Errorf("%w: takes x in uint8 and a table of 256, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, nil
}
