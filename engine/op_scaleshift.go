package engine

import "fmt"

// ScaleShift scales and shifts the channels, the last axis, of x [N,H,W,C] or
// [N,C]: y = x·w + b. Inputs: x, then w [C] with Scale, then b [C] with Shift, one
// of which there must be. Output: y, of x's shape. w and b are float32.
type ScaleShift struct{ Scale, Shift bool }

// Infer implements Op.
func (op ScaleShift) Infer(in []Spec) ([]Spec, error) {
	want := 1
	for _, has := range []bool{op.Scale, op.Shift} {
		if has {
			want++
		}
	}
	if want == 1 || len(in) != want {
		return nil, fmt.Errorf("%w: takes x and %d vectors, got %v", ErrShape, want-1, in)
	}
	return []Spec{in[0]}, checkLastAxis(in[0], in[1:]...)
}

// Backward implements Differentiable. The scale alone is what x's gradient needs.
func (op ScaleShift) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	x, dy := n.In[0], dOut[0]
	d := []*Value{dy}
	if op.Scale {
		d[0] = b.One(ScaleShift{Scale: true}, dy, n.In[1])
	}
	return append(d, b.Apply(ScaleShiftBackward(op), x, dy)[:len(n.In)-1]...), nil
}

// ScaleShiftBackward is the gradient of ScaleShift with respect to w and b.
// Inputs: x, dy of one shape. With sums over the pixels of all images:
//
//	dw = Σdy·x    db = Σdy
//
// Outputs: dw [C] with Scale, db [C] with Shift.
type ScaleShiftBackward struct{ Scale, Shift bool }

// Infer implements Op.
func (op ScaleShiftBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) || !op.Scale && !op.Shift {
		return nil, fmt.Errorf("%w: takes x and dy of one shape, got %v", ErrShape, in)
	}
	_, c, err := lastAxis(in[0])
	var out []Spec
	for _, has := range []bool{op.Scale, op.Shift} {
		if has {
			out = append(out, F32(c))
		}
	}
	return out, err
}
