package engine

import "fmt"

// An Adaptive is the geometry of a pool that makes Size pixels of any picture:
// along an axis, window i of m over n pixels covers those from ⌊i·n/m⌋ up to but
// without ⌈(i+1)·n/m⌉, PyTorch's regions. They may overlap.
type Adaptive struct{ Size Pair }

// Spans returns those of all windows along an axis of n pixels, 0 for the rows.
func (a Adaptive) Spans(axis, n int) []Span {
	spans := make([]Span, a.Size[axis])
	for i := range spans {
		first, end := i*n/len(spans), ((i+1)*n+len(spans)-1)/len(spans)
		spans[i] = Span{first, end, end - first}
	}
	return spans
}

func (a Adaptive) infer(x Spec) (Spec, error) {
	n, _, _, c, ok := x.NHWC()
	if !ok || min(a.Size[0], a.Size[1]) < 1 {
		return Spec{}, fmt.Errorf("%w: x %v (NHWC) to %v pixels", ErrShape, x, a.Size)
	}
	return x.as(n, a.Size[0], a.Size[1], c), checkActivations(x)
}

func (a Adaptive) inferBackward(dy, x Spec) ([]Spec, error) {
	y, err := a.infer(x)
	if err == nil && !dy.Equal(y) {
		err = fmt.Errorf("%w: dy is %v, y was %v", ErrShape, dy, y)
	}
	return []Spec{x}, err
}

// AdaptiveAvgPool2D is PyTorch's nn.AdaptiveAvgPool2d: the mean of each window,
// x [N,H,W,C] to [N,Size[0],Size[1],C].
type AdaptiveAvgPool2D struct{ Adaptive }

// Infer implements Op.
func (op AdaptiveAvgPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	y, err := op.infer(in[0])
	return []Spec{y}, err
}

// Backward implements Differentiable.
func (op AdaptiveAvgPool2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(AdaptiveAvgPool2DBackward{op.Adaptive, n.In[0].Spec}, dOut[0])}, nil
}

// AdaptiveAvgPool2DBackward takes dy [N,OH,OW,C] to dx of spec X: each dy over the
// pixels of its window is added to every x of the window.
type AdaptiveAvgPool2DBackward struct {
	Adaptive
	X Spec
}

// Infer implements Op.
func (op AdaptiveAvgPool2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes dy, got %d inputs", ErrShape, len(in))
	}
	return op.inferBackward(in[0], op.X)
}

// Backward implements Differentiable.
func (op AdaptiveAvgPool2DBackward) Backward(b *Builder, _ *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(AdaptiveAvgPool2D{op.Adaptive}, dOut[0])}, nil
}

// AdaptiveMaxPool2D is PyTorch's nn.AdaptiveMaxPool2d: the largest x of each
// window, x [N,H,W,C] to [N,Size[0],Size[1],C]. A NaN wins.
type AdaptiveMaxPool2D struct{ Adaptive }

// Infer implements Op.
func (op AdaptiveMaxPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	y, err := op.infer(in[0])
	return []Spec{y}, err
}

// Backward implements Differentiable.
func (op AdaptiveMaxPool2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(AdaptiveMaxPool2DBackward(op), n.In[0], dOut[0])}, nil
}

// AdaptiveMaxPool2DBackward takes x [N,H,W,C] and dy [N,OH,OW,C] to dx [N,H,W,C]:
// each dy is added to the first largest x of its window, in row-major order.
type AdaptiveMaxPool2DBackward struct{ Adaptive }

// Infer implements Op.
func (op AdaptiveMaxPool2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes x and dy, got %d inputs", ErrShape, len(in))
	}
	return op.inferBackward(in[1], in[0])
}
