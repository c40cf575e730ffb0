package engine

import "fmt"

// Conv2D is the two-dimensional cross-correlation of PyTorch's nn.Conv2d.
//
//	y[n,i,j,o] = b[o] + Σ_{u,v,c} x[n, i·sh+u·dh-pt, j·sw+v·dw-pl, g·Cg+c] · w[u,v,c,o]
//
// with strides sh, sw, dilations dh, dw, and zeros around the picture, pt rows
// above, pb below, pl columns to the left and pr to the right of it; Cg =
// C/Groups, and g is the group that o lies in. Inputs: x [N,H,W,C], w
// [KH,KW,C/Groups,O], and optionally b [O]. Output: y [N,OH,OW,O] with
// OH = ⌊(pt+H+pb-dh·(KH-1)-1)/sh⌋+1, and OW likewise.
//
// Groups = 1 is the dense convolution, KH = KW = 1 the pointwise, Groups = C
// the depthwise one. With x in bfloat16, w is rounded to bfloat16 before the
// product (see bfloat16.go). Zeros in Stride, Dilation and Groups mean 1.
type Conv2D struct {
	Stride, Dilation Pair
	Pad              Pads
	Groups           int
	// Epilogue is what the planner has fused behind the convolution; a graph
	// under construction leaves it at its zero value.
	Epilogue Epilogue
}

// An Epilogue is applied to each output element while it is still in a
// register: first the residual is added, then the activation is taken. A backend
// may make 0 of a NaN by its ReLU or ReLU6, which a plain Activation must not.
type Epilogue struct {
	Residual bool // the op's last input, of y's spec, is added
	Act      Act
}

// Complete returns op with 1 for each zero that stands for it.
func (op Conv2D) Complete() Conv2D {
	op.Stride, op.Dilation, op.Groups = op.Stride.ones(), op.Dilation.ones(), max(op.Groups, 1)
	return op
}

// Infer implements Op.
func (op Conv2D) Infer(in []Spec) ([]Spec, error) {
	want := 2
	if op.Epilogue.Residual {
		want++
	}
	if len(in) != want && len(in) != want+1 {
		return nil, fmt.Errorf("%w: takes x, w and optionally b, got %d inputs", ErrShape, len(in))
	}
	if min(op.Stride[0], op.Stride[1], op.Dilation[0], op.Dilation[1], op.Groups) < 0 || op.Pad.negative() {
		return nil, fmt.Errorf("%w: negative setting in %+v", ErrShape, op)
	}
	op = op.Complete()
	n, h, w, c, ok := in[0].NHWC()
	kh, kw, cg, o, ok2 := in[1].NHWC()
	switch {
	case !ok || !ok2:
		return nil, fmt.Errorf("%w: x and w must have rank 4 (NHWC, HWIO)", ErrShape)
	case c%op.Groups != 0 || o%op.Groups != 0:
		return nil, fmt.Errorf("%w: %d groups do not divide %d input and %d output channels", ErrShape, op.Groups, c, o)
	case cg != c/op.Groups:
		return nil, fmt.Errorf("%w: w takes %d channels a group, x has %d", ErrShape, cg, c/op.Groups)
	}
	if err := firstError(checkActivations(in[0]), checkWeight(in[1]), op.Epilogue.Act.check()); err != nil {
		return nil, err
	}
	h, w = op.Pad.Height(h), op.Pad.Width(w)
	freeH, freeW := h-op.Dilation[0]*(kh-1)-1, w-op.Dilation[1]*(kw-1)-1
	if freeH < 0 || freeW < 0 {
		return nil, fmt.Errorf("%w: the kernel %dx%d is larger than the padded input %dx%d", ErrShape, kh, kw, h, w)
	}
	y := in[0].as(n, freeH/op.Stride[0]+1, freeW/op.Stride[1]+1, o)
	rest := in[2:]
	if op.Epilogue.Residual {
		if !rest[len(rest)-1].Equal(y) {
			return nil, fmt.Errorf("%w: residual %v, output %v", ErrShape, rest[len(rest)-1], y)
		}
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 1 && !rest[0].Equal(F32(o)) {
		return nil, fmt.Errorf("%w: bias %v for %d output channels", ErrShape, rest[0], o)
	}
	return []Spec{y}, nil
}

// Cost implements Coster.
func (op Conv2D) Cost(in, out []Spec) int64 {
	w := in[1].Shape
	return 2 * int64(out[0].Len()) * int64(w[0]*w[1]*w[2])
}

// Backward implements Differentiable.
func (op Conv2D) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	if op.Epilogue != (Epilogue{}) {
		return nil, fmt.Errorf("%w: gradient of a fused convolution", ErrUnsupported)
	}
	x, w := n.In[0], n.In[1]
	bias := len(n.In) == 3
	op = op.Complete()
	dx := b.One(Conv2DBackwardData{Conv2D: op, X: x.Spec}, dOut[0], w)
	dw := b.Apply(Conv2DBackwardWeight{Conv2D: op, W: w.Spec, Bias: bias}, x, dOut[0])
	if bias {
		return []*Value{dx, dw[0], dw[1]}, nil
	}
	return []*Value{dx, dw[0]}, nil
}

// Conv2DBackwardData is the gradient of Conv2D with respect to x.
//
//	dx[n,h,w,c] = Σ_{u,v,o: i·sh+u·dh-pt = h, j·sw+v·dw-pl = w} dy[n,i,j,o] · w[u,v,c-g·Cg,o]
//
// Inputs: dy [N,OH,OW,O], w [KH,KW,C/Groups,O]. Output: dx of spec X.
type Conv2DBackwardData struct {
	Conv2D Conv2D
	X      Spec
}

// Infer implements Op.
func (op Conv2DBackwardData) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes dy and w, got %d inputs", ErrShape, len(in))
	}
	y, err := op.Conv2D.Infer([]Spec{op.X, in[1]})
	if err != nil {
		return nil, err
	}
	if !in[0].Equal(y[0]) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[0], y[0])
	}
	return []Spec{op.X}, nil
}

// Cost implements Coster.
func (op Conv2DBackwardData) Cost(in, _ []Spec) int64 {
	return op.Conv2D.Cost([]Spec{op.X, in[1]}, in[:1])
}

// Conv2DBackwardWeight is the gradient of Conv2D with respect to w and b.
//
//	dw[u,v,c,o] = Σ_{n,i,j} x[n, i·sh+u·dh-pt, j·sw+v·dw-pl, g·Cg+c] · dy[n,i,j,o]
//	db[o]       = Σ_{n,i,j} dy[n,i,j,o]
//
// Inputs: x [N,H,W,C], dy [N,OH,OW,O]. Outputs: dw of spec W, and db [O] if Bias.
type Conv2DBackwardWeight struct {
	Conv2D Conv2D
	W      Spec
	Bias   bool
}

// Infer implements Op.
func (op Conv2DBackwardWeight) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes x and dy, got %d inputs", ErrShape, len(in))
	}
	y, err := op.Conv2D.Infer([]Spec{in[0], op.W})
	if err != nil {
		return nil, err
	}
	if !in[1].Equal(y[0]) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[1], y[0])
	}
	if op.Bias {
		return []Spec{op.W, F32(op.W.Shape[3])}, nil
	}
	return []Spec{op.W}, nil
}

// Cost implements Coster.
func (op Conv2DBackwardWeight) Cost(in, _ []Spec) int64 {
	return op.Conv2D.Cost([]Spec{in[0], op.W}, in[1:2])
}
