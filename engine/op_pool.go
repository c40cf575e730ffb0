package engine

import "fmt"

// A Window is the geometry of a pooling op: the kernel, its stride (0 means the
// kernel's extent), its dilation (0 means 1), and how much is put around the
// picture, on each side less than a window reaches.
type Window struct {
	Kernel, Stride, Dilation Pair
	Pad                      Pads
	// Ceil makes a last window of what is left over along an axis, if it begins
	// within the picture or the padding before it: PyTorch's ceil_mode.
	Ceil bool
}

// Square returns the window that is the same along both axes; with stride 0
// windows do not overlap.
func Square(kernel, stride, pad int) Window {
	return Window{Kernel: Both(kernel), Stride: Both(stride), Pad: Around(pad)}
}

// Complete returns w with what its zeros stand for.
func (w Window) Complete() Window {
	for axis, s := range w.Stride {
		if s == 0 {
			w.Stride[axis] = w.Kernel[axis]
		}
	}
	w.Dilation = w.Dilation.ones()
	return w
}

// Tiles reports whether the windows are square, neither overlap nor pad nor hang
// over: the case in which pooling fuses with what is before it.
func (w Window) Tiles() bool {
	return w.Complete() == Window{Kernel: Both(w.Kernel[0]), Stride: Both(w.Kernel[0]), Dilation: Both(1)}
}

// A Span is what a window covers along one axis: the pixels First, First +
// dilation and so on before End. Extent is what it covers of the padded picture,
// pixels and padding: what an average over padding divides by.
type Span struct{ First, End, Extent int }

// Spans returns those of all windows along an axis of n pixels, 0 for the rows.
func (w Window) Spans(axis, n int) []Span {
	w = w.Complete()
	k, s, d, before, after := w.Kernel[axis], w.Stride[axis], w.Dilation[axis], w.Pad[axis], w.Pad[axis+2]
	spans := make([]Span, w.windows(axis, n))
	for i := range spans {
		start := i*s - before
		end := start + d*(k-1) + 1
		first := start
		if first < 0 {
			first += (-start + d - 1) / d * d
		}
		spans[i] = Span{first, min(end, n), min(end, n+after) - start}
	}
	return spans
}

// windows returns how many there are along an axis of n pixels, none if a window
// is larger than the padded picture.
func (w Window) windows(axis, n int) int {
	s, before := w.Stride[axis], w.Pad[axis]
	free := before + n + w.Pad[axis+2] - w.Dilation[axis]*(w.Kernel[axis]-1) - 1
	if free < 0 {
		return 0
	}
	if w.Ceil && free%s != 0 && (free/s+1)*s < n+before {
		return free/s + 2
	}
	return free/s + 1
}

func (w Window) infer(x Spec) (Spec, error) {
	w = w.Complete()
	n, h, ww, c, ok := x.NHWC()
	if !ok {
		return Spec{}, fmt.Errorf("%w: x must be NHWC, got %v", ErrShape, x)
	}
	var out Pair
	for axis, size := range []int{h, ww} {
		k, d := w.Kernel[axis], w.Dilation[axis]
		if k < 1 || d < 1 || w.Stride[axis] < 1 || w.Pad.negative() || max(w.Pad[axis], w.Pad[axis+2]) > d*(k-1) {
			return Spec{}, fmt.Errorf("%w: window %+v", ErrShape, w)
		}
		if out[axis] = w.windows(axis, size); out[axis] == 0 {
			return Spec{}, fmt.Errorf("%w: window %+v is larger than the padded input %v", ErrShape, w, x)
		}
		for _, s := range w.Spans(axis, size) {
			if s.First >= s.End {
				return Spec{}, fmt.Errorf("%w: window %+v meets nothing but padding of %v", ErrShape, w, x)
			}
		}
	}
	return x.as(n, out[0], out[1], c), checkActivations(x)
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
// padding never wins. x [N,H,W,C] to y [N,OH,OW,C] with
// OH = ⌊(top+H+bottom-dilation·(kernel-1)-1)/stride⌋+1, and OW likewise. A NaN in a
// window wins.
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
	return []*Value{b.One(MaxPool2DBackward{op.Complete()}, n.In[0], dOut[0])}, nil
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

// AvgPool2D is PyTorch's nn.AvgPool2d: the mean of each window, without dilation.
// Padding counts as zeros and, as by default there (count_include_pad), in the
// divisor, but not with ExcludePad. What hangs over the padding never counts.
type AvgPool2D struct {
	Window
	ExcludePad bool
}

func (op AvgPool2D) infer(x Spec) (Spec, error) {
	if op.Complete().Dilation != Both(1) {
		return Spec{}, fmt.Errorf("%w: a dilation of %v in a mean", ErrShape, op.Dilation)
	}
	return op.Window.infer(x)
}

// Divisors returns what the sums of the windows of an axis of n pixels, 0 for
// the rows, are divided by; the divisor of a window is the product of both.
func (op AvgPool2D) Divisors(axis, n int) []int {
	var ds []int
	for _, s := range op.Spans(axis, n) {
		if op.ExcludePad {
			s.Extent = s.End - s.First
		}
		ds = append(ds, s.Extent)
	}
	return ds
}

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
	return []*Value{b.One(AvgPool2DBackward{op, n.In[0].Spec}, dOut[0])}, nil
}

// AvgPool2DBackward takes dy [N,OH,OW,C] to dx of spec X: each dy over its
// window's divisor is added to every x of the window.
type AvgPool2DBackward struct {
	AvgPool2D AvgPool2D
	X         Spec
}

// Infer implements Op.
func (op AvgPool2DBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes dy, got %d inputs", ErrShape, len(in))
	}
	y, err := op.AvgPool2D.infer(op.X)
	if err != nil {
		return nil, err
	}
	if !in[0].Equal(y) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[0], y)
	}
	return []Spec{op.X}, nil
}

// GlobalAvgPool is y[n,c] = Σ_{h,w} x[n,h,w,c]/(H·W), from [N,H,W,C] to [N,C],
// which is float32 whatever x is; with KeepDims to [N,1,1,C] of x's type.
type GlobalAvgPool struct{ KeepDims bool }

func (op GlobalAvgPool) y(x Spec) Spec {
	if op.KeepDims {
		return x.as(x.Shape[0], 1, 1, x.Shape[3])
	}
	return F32(x.Shape[0], x.Shape[3])
}

// Infer implements Op.
func (op GlobalAvgPool) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(in[0].Shape) != 4 {
		return nil, fmt.Errorf("%w: takes x (NHWC), got %v", ErrShape, in)
	}
	return []Spec{op.y(in[0])}, checkActivations(in[0])
}

// Backward implements Differentiable.
func (op GlobalAvgPool) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(GlobalAvgPoolBackward{GlobalAvgPool: op, X: n.In[0].Spec}, dOut[0])}, nil
}

// GlobalAvgPoolBackward is dx[n,h,w,c] = dy[n,c]/(H·W), from the shape and type
// of GlobalAvgPool's y to X.
type GlobalAvgPoolBackward struct {
	GlobalAvgPool GlobalAvgPool
	X             Spec
}

// Infer implements Op.
func (op GlobalAvgPoolBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 || len(op.X.Shape) != 4 || !in[0].Equal(op.GlobalAvgPool.y(op.X)) {
		return nil, fmt.Errorf("%w: dy %v for x %v", ErrShape, in, op.X)
	}
	return []Spec{op.X}, checkActivations(op.X)
}
