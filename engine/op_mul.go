package engine

import (
	"fmt"
	"slices"
)

// A Broadcast says how the factor of a Mul is repeated over x.
type Broadcast uint8

// The ways in which a factor s is repeated over x.
const (
	Elementwise  Broadcast = iota + 1 // not at all: one shape
	OverPixels                        // s [N,C] or [N,1,1,C], over the pixels of x [N,H,W,C]
	OverChannels                      // s [N,H,W,1] or [N,1], over the channels of x [N,H,W,C] or [N,C]
)

// Mul is a product: y = x·s, element by element, where s may be smaller than x
// and is then repeated (see Broadcast): a channel's factor in each image is
// squeeze and excitation's (Hu et al., arXiv:1709.01507). Inputs: x, s. Output:
// y, of x's shape.
type Mul struct{}

// Broadcast returns how s is repeated over x, 0 if it does not fit.
func (Mul) Broadcast(x, s Spec) Broadcast {
	last := len(x.Shape) - 1
	switch n, h, w, c, image := x.NHWC(); {
	case slices.Equal(x.Shape, s.Shape):
		return Elementwise
	case image && h*w > 0 && (slices.Equal(s.Shape, []int{n, c}) || slices.Equal(s.Shape, []int{n, 1, 1, c})):
		return OverPixels
	case last > 0 && len(s.Shape) == last+1 && s.Shape[last] == 1 && slices.Equal(s.Shape[:last], x.Shape[:last]):
		return OverChannels
	}
	return 0
}

// Infer implements Op.
func (op Mul) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || op.Broadcast(in[0], in[1]) == 0 {
		return nil, fmt.Errorf("%w: takes x and a factor of its shape, of its channels [N,C] or of its pixels [N,H,W,1], got %v", ErrShape, in)
	}
	return []Spec{in[0]}, checkActivations(in...)
}

// Backward implements Differentiable.
func (op Mul) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	x, s, dy := n.In[0], n.In[1], dOut[0]
	if op.Broadcast(x.Spec, s.Spec) == Elementwise {
		return []*Value{b.One(op, dy, s), b.One(op, dy, x)}, nil
	}
	return b.Apply(MulBackward{}, x, s, dy)[:2], nil
}

// MulBackward is the gradient of a Mul whose factor is repeated. Inputs: x, s, dy
// of x's shape. With sums over what s is repeated over:
//
//	dx = dy·s    ds = Σ dy·x
//
// Outputs: dx, ds.
type MulBackward struct{}

// Infer implements Op.
func (op MulBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 || !in[2].Equal(in[0]) || (Mul{}).Broadcast(in[0], in[1]) < OverPixels {
		return nil, fmt.Errorf("%w: takes x, a factor that is repeated over it, and dy of x's shape, got %v", ErrShape, in)
	}
	return []Spec{in[0], in[1]}, checkActivations(in...)
}
