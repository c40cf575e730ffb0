package engine

import "fmt"

// QConv2D is Conv2D of codes (see Codes for the rounding):
//
//	acc[n,i,j,o] = b[o] + Σ (x[n, i·sh+u·dh-top, j·sw+v·dw-left, c] - X.Zero)·w[u,v,c,o]
//	y = code(float32(acc)·m[o])
//
// summed over the kernel and the channels of o's group, exactly in int32; what lies
// outside of x is X.Zero. The multiplier m is scale of x times scale of w over scale
// of y. With Float the output is float32(acc)·m[o] itself, in float32, and m has no
// scale of y. With Sum the output is QAdd{A: Y, B: Sum.R, Y: Sum.Y} of y and r.
//
// Inputs: x [N,H,W,I] uint8, w [KH,KW,I/Groups,O] int8, b [O] int32, m [O] float32; with Sum
// r [N,OH,OW,O] uint8. Output: y [N,OH,OW,O], uint8, or float32 with Float.
type QConv2D struct {
	Conv2D Conv2D
	X, Y   Codes
	Float  bool
	Sum    QSum
}

// A QSum says what a convolution of codes adds to its result: codes R, for a sum in codes Y.
// The zero QSum adds nothing.
type QSum struct{ R, Y Codes }

// Given reports whether something is added.
func (s QSum) Given() bool { return s != QSum{} }

// Infer implements Op.
func (op QConv2D) Infer(in []Spec) ([]Spec, error) {
	tensors := 4
	if op.Sum.Given() {
		tensors++
	}
	if len(in) != tensors || in[0].DType != Uint8 || in[1].DType != Int8 {
		return nil, fmt.Errorf("%w: takes x in uint8, w in int8, b, m, and what is added, got %v", ErrShape, in)
	}
	if op.Conv2D.Epilogue != (Epilogue{}) {
		return nil, fmt.Errorf("%w: an epilogue %+v", ErrShape, op.Conv2D.Epilogue)
	}
	out, err := op.Conv2D.Infer([]Spec{F32(in[0].Shape...), F32(in[1].Shape...)})
	if err != nil {
		return nil, err
	}
	out, err = op.output(out[0], in)
	if err != nil || !op.Sum.Given() {
		return out, err
	}
	return QAdd{A: op.Y, B: op.Sum.R, Y: op.Sum.Y}.Infer([]Spec{out[0], in[4]})
}

// output checks what belongs to the channels of y, and gives y its type.
func (op QConv2D) output(y Spec, in []Spec) ([]Spec, error) {
	o := y.Shape[len(y.Shape)-1]
	if !in[2].Equal(Spec{Shape: []int{o}, DType: Int32}) || !in[3].Equal(F32(o)) {
		return nil, fmt.Errorf("%w: b %v and m %v for %d output channels", ErrShape, in[2], in[3], o)
	}
	if each := in[1].Len() / o; each > maxTerms {
		return nil, fmt.Errorf("%w: sums of %d products, which may not fit into 32 bits; at most %d do", ErrShape, each, maxTerms)
	}
	if !op.Float {
		y.DType = Uint8
	}
	return []Spec{y}, firstError(op.X.check(), op.Y.check())
}

// maxTerms is how many products of codes fit into half of the range of an int32; the
// other half is the bias's.
const maxTerms = 1 << 30 / (255 * 128)

// Cost implements Coster.
func (op QConv2D) Cost(in, out []Spec) int64 { return op.Conv2D.Cost(in[:2], out) }

// QLinear is Linear of codes, as QConv2D is Conv2D: acc = b + (x-X.Zero)·w. Inputs:
// x [N,I] uint8, w [I,O] int8, b [O] int32, m [O] float32. Output: y [N,O].
type QLinear struct {
	X, Y  Codes
	Float bool
}

// Infer implements Op.
func (op QLinear) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 4 || in[0].DType != Uint8 || in[1].DType != Int8 {
		return nil, fmt.Errorf("%w: takes x in uint8, w in int8, b and m, got %v", ErrShape, in)
	}
	out, err := Linear{}.Infer([]Spec{F32(in[0].Shape...), F32(in[1].Shape...)})
	if err != nil {
		return nil, err
	}
	return QConv2D{X: op.X, Y: op.Y, Float: op.Float}.output(out[0], in)
}

// Cost implements Coster.
func (op QLinear) Cost(in, out []Spec) int64 { return Linear{}.Cost(in[:2], out) }
