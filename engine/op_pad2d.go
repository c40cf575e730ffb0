package engine

import "fmt"

// A PadMode says what Pad2D puts around a picture.
type PadMode int

// The modes, PyTorch's and ONNX's names.
const (
	PadConstant PadMode = iota // Pad2D.Value
	PadReflect                 // the picture mirrored at its first and last pixel, without these
	PadEdge                    // the first and the last pixel: PyTorch's replicate
)

func (m PadMode) String() string {
	switch m {
	case PadConstant:
		return "constant"
	case PadReflect:
		return "reflect"
	case PadEdge:
		return "edge"
	}
	return fmt.Sprintf("PadMode(%d)", int(m))
}

// Pad2D is PyTorch's nn.ConstantPad2d, nn.ReflectionPad2d and nn.ReplicationPad2d:
// x [N,H,W,C] to y [N,top+H+bottom,left+W+right,C]. Reflected padding is less than
// the picture's extent.
type Pad2D struct {
	Pad   Pads
	Mode  PadMode
	Value float32 // of PadConstant
}

// Sources returns the pixel of x that each pixel of y repeats along an axis of n
// pixels, 0 for the rows: -1 where it is the constant.
func (op Pad2D) Sources(axis, n int) []int {
	from := make([]int, op.Pad[axis]+n+op.Pad[axis+2])
	for i := range from {
		s := i - op.Pad[axis]
		if s < 0 || s >= n {
			switch op.Mode {
			case PadConstant:
				s = -1
			case PadReflect:
				s = max(s, -s)
				s = min(s, 2*(n-1)-s)
			case PadEdge:
				s = min(max(s, 0), n-1)
			}
		}
		from[i] = s
	}
	return from
}

// Infer implements Op.
func (op Pad2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	n, h, w, c, ok := in[0].NHWC()
	p := op.Pad
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: x must be NHWC, got %v", ErrShape, in[0])
	case p.negative() || op.Mode < PadConstant || op.Mode > PadEdge:
		return nil, fmt.Errorf("%w: padding %v of mode %v", ErrShape, p, op.Mode)
	case op.Mode == PadReflect && (max(p[0], p[2]) >= h || max(p[1], p[3]) >= w):
		return nil, fmt.Errorf("%w: a padding of %v cannot be reflected from %dx%d pixels", ErrShape, p, h, w)
	}
	return []Spec{in[0].as(n, p.Height(h), p.Width(w), c)}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op Pad2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(Pad2DBackward{op, n.In[0].Spec}, dOut[0])}, nil
}

// Pad2DBackward takes dy to dx of spec X: each dx is the sum of the dy of the
// pixels that repeat it.
type Pad2DBackward struct {
	Pad2D Pad2D
	X     Spec
}

// Infer implements Op.
func (op Pad2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes dy, got %d inputs", ErrShape, len(in))
	}
	y, err := op.Pad2D.Infer([]Spec{op.X})
	if err == nil && !in[0].Equal(y[0]) {
		err = fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[0], y[0])
	}
	return []Spec{op.X}, err
}
