package engine

import (
	"fmt"
	"math"
)

// FakeQuant rounds x, [N,H,W,C] or [N,C] or a weight, to the numbers that codes
// from Lo to Hi stand for, and leaves them floats (Jacob et al.,
// arXiv:1712.05877). With a scale s > 0 and a zero point z, an integer from Lo to
// Hi, each one number for all of x or one for each index of the last axis,
//
//	q = min(max(round(x/s) + z, Lo), Hi)    y = (q-z)·s
//
// The quotient is rounded to float32 and then to the nearest integer, halves to
// the even one, as ONNX's QuantizeLinear has it; the product is rounded to
// float32. So y has the same bits on every backend, and Quantize gives the same q.
//
// Inputs: x, s [C] or [1], and where Zero is set z of s's shape; both are float32.
// Output: y. Without Zero z is 0.
//
// The gradient of x is the straight-through estimator. That of s, which is
// multiplied by Gain, is LSQ's (Esser et al., arXiv:1902.08153); it is zero where
// Gain is. z has none.
type FakeQuant struct {
	Lo, Hi int32
	Zero   bool
	Gain   float32
}

// Infer implements Op.
func (op FakeQuant) Infer(in []Spec) ([]Spec, error) {
	want := 2
	if op.Zero {
		want = 3
	}
	if len(in) != want {
		return nil, fmt.Errorf("%w: takes x and %d tensors of its quantizer, got %v", ErrShape, want-1, in)
	}
	return []Spec{in[0]}, op.check(in[0], in[1:])
}

// check makes sure that there are codes and that the quantizer's tensors fit x.
func (op FakeQuant) check(x Spec, tensors []Spec) error {
	const most = 1 << 16
	if op.Lo >= op.Hi || op.Lo < -most || op.Hi > most || !(op.Gain >= 0) || math.IsInf(float64(op.Gain), 0) {
		return fmt.Errorf("%w: codes from %d to %d, a gain of %g", ErrShape, op.Lo, op.Hi, op.Gain)
	}
	if _, _, err := lastAxis(x); err != nil {
		return err
	}
	for _, s := range tensors {
		if !s.Equal(tensors[0]) {
			return fmt.Errorf("%w: a scale %v with a zero point %v", ErrShape, tensors[0], s)
		}
	}
	if tensors[0].Equal(F32(1)) {
		return nil
	}
	return checkLastAxis(x, tensors...)
}

// Backward implements Differentiable.
func (op FakeQuant) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	out := b.Apply(FakeQuantBackward(op), append([]*Value{dOut[0]}, n.In...)...)
	d := []*Value{out[0], nil}
	if op.Gain != 0 {
		d[1] = out[1]
	}
	if op.Zero {
		d = append(d, nil)
	}
	return d, nil
}

// FakeQuantBackward is the gradient of FakeQuant. Inputs: dy of x's shape, then
// FakeQuant's. With u = x/s, rounded to float32, and r = round(u),
//
//	dx = dy where Lo ≤ r+z ≤ Hi, else 0
//	ds = Gain·Σ dy·t    t = r-u there, Lo-z below it and Hi-z above
//
// The sum goes over all that has the scale. Outputs: dx, ds of s's shape.
type FakeQuantBackward struct {
	Lo, Hi int32
	Zero   bool
	Gain   float32
}

// Infer implements Op.
func (op FakeQuantBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) < 3 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes dy and what FakeQuant takes, got %v", ErrShape, in)
	}
	if _, err := FakeQuant(op).Infer(in[1:]); err != nil {
		return nil, err
	}
	return []Spec{in[0], in[2]}, nil
}
