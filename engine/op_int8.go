package engine

import (
	"fmt"
	"math"
)

// Int8 says whether a program computes with 8-bit weights, and how their range
// was taken: it must be the way in which the stored weights were quantised, for
// then the codes are those of the file (see QuantizeWeight).
type Int8 uint8

// The ways to quantise a weight.
const (
	NoInt8         Int8 = iota // float32 weights
	Int8PerTensor              // one range a tensor
	Int8PerChannel             // one range an output channel
)

// Int8MaxChannels is the most input channels of a PointwiseInt8. The sums of
// products, at most 255·128 a channel, are far from overflowing 32 bits.
const Int8MaxChannels = 8192

// int8Specs returns the specs of a quantised weight.
func int8Specs(i, o int) []Spec {
	codes := Spec{Shape: []int{(o + 15) / 16, (i + 3) / 4, 16, 4}, DType: Uint8}
	return []Spec{codes, F32(o), F32(o)}
}

// QuantizeWeight takes w [1,1,I,O] to 8-bit codes on the range that it spans,
// the whole of it or, PerChannel, each output channel. With lo and hi the ends
// of the range (layers/checkpoint/affine has the same rule):
//
//	q[i,o] = roundHalfEven((w[i,o]-lo)/(hi-lo) · 255) - 128    in float64
//	s[o]   = (hi-lo)/255    z[o] = lo + 128·s    so that w ≈ s·q + z
//
// and q = -128 where hi = lo. Weights that were quantised so once and decoded
// to float32 get the same codes again. Outputs: the codes, s [O], z [O]. The
// codes are bytes in two's complement, [⌈O/16⌉, ⌈I/4⌉, 16, 4]: q[i,o] lies at
// [o/16, i/4, o mod 16, i mod 4], as instructions that add up four products of
// bytes want it; what is behind I or O is zero. NaNs and infinities have no
// code; w must not hold any.
//
// The planner makes this op; its outputs depend on variables only.
type QuantizeWeight struct{ PerChannel bool }

// Infer implements Op.
func (op QuantizeWeight) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(in[0].Shape) != 4 || in[0].Shape[0] != 1 || in[0].Shape[1] != 1 || in[0].DType != Float32 {
		return nil, fmt.Errorf("%w: takes w [1,1,I,O], got %v", ErrShape, in)
	}
	return int8Specs(in[0].Shape[2], in[0].Shape[3]), nil
}

// PointwiseInt8 is a pointwise convolution in integers, of an x that a ReLU6
// (or the like) has bounded. x is rounded to a byte, a = roundHalfEven(x·255/Max),
// clamped to [0, 255], and
//
//	y[p,o] = Max/255 · (s[o] · Σ_i a[p,i]·q[i,o] + z[o] · Σ_i a[p,i]) + b[o]
//
// where the sums are exact; Pool, if not nil, then takes the largest of each
// window of y, as MaxPool2D does. The error is that of rounding x, at most
// Max/510 · Σ_i |w[i,o]|, and that of rounding w, which is none where w holds
// decoded codes. A NaN in x makes all outputs of its pixel NaN.
//
// Inputs: x [N,H,W,I]; codes, s [O] and z [O] as QuantizeWeight makes them;
// optionally b [O]. Output: y [N,H,W,O], or pooled. The planner makes this op: see
// pass_int8.go. The scheme is that of Jacob et al., arXiv:1712.05877, with real
// zero points for the weights and none for x.
type PointwiseInt8 struct {
	Max  float32
	Pool *Window // nil: no pooling
}

// Infer implements Op.
func (op PointwiseInt8) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 4 && len(in) != 5 || !(op.Max > 0) || math.IsInf(float64(op.Max), 0) {
		return nil, fmt.Errorf("%w: takes x, codes, s, z and optionally b, got %d inputs; x at most %g", ErrShape, len(in), op.Max)
	}
	n, h, w, i, ok := in[0].NHWC()
	if !ok || in[0].DType != Float32 || len(in[2].Shape) != 1 {
		return nil, fmt.Errorf("%w: takes x (NHWC) and vectors, got %v", ErrShape, in)
	}
	o := in[2].Shape[0]
	for k, s := range int8Specs(i, o) {
		if !in[1+k].Equal(s) {
			return nil, fmt.Errorf("%w: %v for %d input and %d output channels, %v needed", ErrShape, in[1+k], i, o, s)
		}
	}
	if len(in) == 5 && !in[4].Equal(F32(o)) {
		return nil, fmt.Errorf("%w: bias %v for %d output channels", ErrShape, in[4], o)
	}
	if i > Int8MaxChannels {
		return nil, fmt.Errorf("%w: %d input channels are more than %d", ErrShape, i, Int8MaxChannels)
	}
	y := F32(n, h, w, o)
	if op.Pool != nil {
		var err error
		if y, err = op.Pool.infer(y); err != nil {
			return nil, err
		}
	}
	return []Spec{y}, nil
}

// Cost implements Coster.
func (op PointwiseInt8) Cost(in, _ []Spec) int64 {
	return 2 * int64(in[0].Len()) * int64(in[2].Shape[0])
}
