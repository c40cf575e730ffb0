package engine

import (
	"fmt"
	"slices"
)

// lastAxis returns what an op on the last axis sees of s: rows of c channels,
// the pixels of images [N,H,W,C] or the rows of a matrix [N,C].
func lastAxis(s Spec) (rows, c int, err error) {
	n := len(s.Shape)
	if n != 2 && n != 4 || s.Len() < 1 {
		return 0, 0, fmt.Errorf("%w: takes [N,H,W,C] or [N,C], got %v", ErrShape, s)
	}
	c = s.Shape[n-1]
	return s.Len() / c, c, checkActivations(s)
}

// withChannels returns s with another last axis.
func (s Spec) withChannels(c int) Spec {
	s.Shape = slices.Clone(s.Shape)
	s.Shape[len(s.Shape)-1] = c
	return s
}

// Concat is PyTorch's torch.cat along the channels, the last axis: the x_k, each
// [N,H,W,C_k] or each [N,C_k], become y [N,H,W,ΣC_k] or [N,ΣC_k],
//
//	y[..., C_0+…+C_(k-1)+c] = x_k[..., c]
type Concat struct{}

// Infer implements Op.
func (op Concat) Infer(in []Spec) ([]Spec, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("%w: takes at least one input", ErrShape)
	}
	total := 0
	for _, s := range in {
		_, c, err := lastAxis(s)
		if err != nil {
			return nil, err
		}
		if !s.withChannels(1).Equal(in[0].withChannels(1)) {
			return nil, fmt.Errorf("%w: takes inputs that differ in their channels alone, got %v", ErrShape, in)
		}
		total += c
	}
	return []Spec{in[0].withChannels(total)}, nil
}

// Backward implements Differentiable.
func (op Concat) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	d, at := make([]*Value, len(n.In)), 0
	for k, x := range n.In {
		c := x.Shape[len(x.Shape)-1]
		d[k] = b.One(Slice{Start: at, End: at + c}, dOut[0])
		at += c
	}
	return d, nil
}

// Slice takes the channels from Start up to, but not including, End, as PyTorch's
// x[:, Start:End] does: x [N,H,W,C] or [N,C] to y [N,H,W,End-Start] or
// [N,End-Start],
//
//	y[..., c] = x[..., Start+c]
type Slice struct{ Start, End int }

// Infer implements Op.
func (op Slice) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	_, c, err := lastAxis(in[0])
	if err != nil {
		return nil, err
	}
	if op.Start < 0 || op.Start >= op.End || op.End > c {
		return nil, fmt.Errorf("%w: channels [%d,%d) of %v", ErrShape, op.Start, op.End, in[0])
	}
	return []Spec{in[0].withChannels(op.End - op.Start)}, nil
}

// Backward implements Differentiable.
func (op Slice) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(SliceBackward{Start: op.Start, X: n.In[0].Spec}, dOut[0])}, nil
}

// SliceBackward is the gradient of a Slice of x, from dy [N,H,W,K] or [N,K] to dx
// of spec X:
//
//	dx[..., Start+c] = dy[..., c] for 0 ≤ c < K, and 0 in the other channels
type SliceBackward struct {
	Start int
	X     Spec
}

// Infer implements Op.
func (op SliceBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes dy, got %d inputs", ErrShape, len(in))
	}
	_, c, err := lastAxis(in[0])
	if err != nil {
		return nil, err
	}
	y, err := Slice{Start: op.Start, End: op.Start + c}.Infer([]Spec{op.X})
	if err != nil {
		return nil, err
	}
	if !in[0].Equal(y[0]) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[0], y[0])
	}
	return []Spec{op.X}, nil
}
