package engine

import "fmt"

// A Window is the geometry of a pooling op: a square kernel, its stride (0
// means Kernel) and the padding on each side, at most half the kernel.
type Window struct{ Kernel, Stride, Pad int }

func (w Window) norm() Window {
	if w.Stride == 0 {
		w.Stride = w.Kernel
	}
	return w
}

// Tiles reports whether the windows neither overlap nor pad: the case in which
// pooling fuses with what is before it.
func (w Window) Tiles() bool { w = w.norm(); return w.Kernel == w.Stride && w.Pad == 0 }

func (w Window) infer(x Spec) (Spec, error) {
	w = w.norm()
	n, h, ww, c, ok := x.NHWC()
	switch {
	case !ok:
		return Spec{}, fmt.Errorf("%w: x must be NHWC, got %v", ErrShape, x)
	case w.Kernel < 1 || w.Stride < 1 || w.Pad < 0 || 2*w.Pad > w.Kernel:
		return Spec{}, fmt.Errorf("%w: window %+v", ErrShape, w)
	case h+2*w.Pad < w.Kernel || ww+2*w.Pad < w.Kernel:
		return Spec{}, fmt.Errorf("%w: window %+v is larger than the padded input %v", ErrShape, w, x)
	}
	return x.as(n, (h+2*w.Pad-w.Kernel)/w.Stride+1, (ww+2*w.Pad-w.Kernel)/w.Stride+1, c), checkActivations(x)
}

func (w Window) inferBackward(dy, x Spec) ([]Spec, error) {
	y, err := w.infer(x)
	if err != nil {
		return nil, err
	}
	if !dy.Equal(y) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, dy, y)
	}
	return []Spec{x}, nil
}

// MaxPool2D is PyTorch's nn.MaxPool2d: y is the largest x of each window;
// padding never wins. x [N,H,W,C] to y [N,OH,OW,C], OH = ⌊(H+2·Pad-Kernel)/Stride⌋+1.
// A NaN in a window wins.
type MaxPool2D struct{ Window }

// Infer implements Op.
func (op MaxPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	y, err := op.infer(in[0])
	return []Spec{y}, err
}

// Backward implements Differentiable.
func (op MaxPool2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(MaxPool2DBackward{op.norm()}, n.In[0], dOut[0])}, nil
}

// MaxPool2DBackward takes x [N,H,W,C] and dy [N,OH,OW,C] to dx [N,H,W,C]: each
// dy is added to the first largest x of its window, in row-major order.
type MaxPool2DBackward struct{ Window }

// Infer implements Op.
func (op MaxPool2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes x and dy, got %d inputs", ErrShape, len(in))
	}
	return op.inferBackward(in[1], in[0])
}

// AvgPool2D is PyTorch's nn.AvgPool2d: the mean of each window; padding counts
// as zeros and, as by default there (count_include_pad), in the divisor.
type AvgPool2D struct{ Window }

// Infer implements Op.
func (op AvgPool2D) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	y, err := op.infer(in[0])
	return []Spec{y}, err
}

// Backward implements Differentiable.
func (op AvgPool2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(AvgPool2DBackward{op.norm(), n.In[0].Spec}, dOut[0])}, nil
}

// AvgPool2DBackward takes dy [N,OH,OW,C] to dx of spec X: each dy/Kernel² is
// added to every x of its window.
type AvgPool2DBackward struct {
	Window
	X Spec
}

// Infer implements Op.
func (op AvgPool2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes dy, got %d inputs", ErrShape, len(in))
	}
	return op.inferBackward(in[0], op.X)
}

// GlobalAvgPool is y[n,c] = Σ_{h,w} x[n,h,w,c]/(H·W), from [N,H,W,C] to [N,C],
// which is float32 whatever x is.
type GlobalAvgPool struct{}

// Infer implements Op.
func (op GlobalAvgPool) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(in[0].Shape) != 4 {
		return nil, fmt.Errorf("%w: takes x (NHWC), got %v", ErrShape, in)
	}
	return []Spec{F32(in[0].Shape[0], in[0].Shape[3])}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op GlobalAvgPool) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(GlobalAvgPoolBackward{X: n.In[0].Spec}, dOut[0])}, nil
}

// GlobalAvgPoolBackward is dx[n,h,w,c] = dy[n,c]/(H·W), from [N,C] to X.
type GlobalAvgPoolBackward struct{ X Spec }

// Infer implements Op.
func (op GlobalAvgPoolBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(op.X.Shape) != 4 || !in[0].Equal(F32(op.X.Shape[0], op.X.Shape[3])) {
		return nil, fmt.Errorf("%w: dy %v for x %v", ErrShape, in, op.X)
	}
	return []Spec{op.X}, checkActivations(op.X)
}
