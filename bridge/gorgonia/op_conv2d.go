package bridge

import (
	"fmt"

	"github.com/chewxy/hm"
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Conv is the geometry of a convolution, PyTorch's nn.Conv2d: the same stride,
// padding (zeros) and dilation for height and width. Zero values of Stride,
// Dilation and Groups mean 1.
type Conv struct{ Stride, Pad, Dilation, Groups int }

func (c Conv) engine() engine.Conv2D {
	return engine.Conv2D{Stride: engine.Both(max(c.Stride, 1)), Pad: engine.Around(c.Pad), Dilation: engine.Both(max(c.Dilation, 1)), Groups: max(c.Groups, 1)}
}

func (c Conv) String() string {
	e := c.engine()
	return fmt.Sprintf("stride=%v,pad=%v,dilation=%v,groups=%d", e.Stride, e.Pad, e.Dilation, e.Groups)
}

// infer returns the output's shape for NCHW and OIHW inputs.
func (c Conv) infer(x, w tensor.Shape) (tensor.Shape, error) {
	if c.Stride < 0 || c.Dilation < 0 || c.Groups < 0 {
		return nil, fmt.Errorf("negative setting in %+v", c)
	}
	if len(x) != 4 || len(w) != 4 {
		return nil, fmt.Errorf("takes x [N,C,H,W] and w [O,C/groups,KH,KW], got %v and %v", x, w)
	}
	out, err := c.engine().Infer([]engine.Spec{image.spec(x), filter.spec(w)})
	if err != nil {
		return nil, err
	}
	n, h, wd, o, _ := out[0].NHWC()
	return tensor.Shape{n, o, h, wd}, nil
}

// A conv2dOp is y from x [N,C,H,W] and w [O,C/groups,KH,KW].
type conv2dOp struct {
	opBase
	conv Conv
	u    *unit
}

// Conv2d is PyTorch's nn.Conv2d without bias, groups and dilation included:
//
//	y[n,o,i,j] = Σ_{c,u,v} x[n, g·Cg+c, i·s+u·d-p, j·s+v·d-p] · w[o,c,u,v]
//
// with Cg = C/Groups and g the group that o lies in. x is [N,C,H,W], w
// [O,C/Groups,KH,KW], the result [N,O,OH,OW]; float32. A bias is added with
// gorgonia.BroadcastAdd.
func (k *Kernels) Conv2d(x, w *G.Node, c Conv) (*G.Node, error) {
	if err := checkNodes("conv2d", []int{4, 4}, x, w); err != nil {
		return nil, err
	}
	op := &conv2dOp{conv: c}
	op.opBase = newBase(k, func(in []tensor.Shape) (tensor.Shape, error) { return c.infer(in[0], in[1]) },
		[]hm.Type{imageType, imageType, imageType}, "Conv2d{%v}", c)
	return G.ApplyOp(op, x, w)
}

// DepthwiseConv2d is Conv2d with a group for every channel: w is [C,1,KH,KW],
// or [M·C,1,KH,KW] for M filters a channel. c.Groups is not read.
func (k *Kernels) DepthwiseConv2d(x, w *G.Node, c Conv) (*G.Node, error) {
	if err := checkNodes("depthwise conv2d", []int{4, 4}, x, w); err != nil {
		return nil, err
	}
	c.Groups = x.Shape()[1]
	return k.Conv2d(x, w, c)
}

// Do implements gorgonia.Op.
func (op *conv2dOp) Do(in ...G.Value) (G.Value, error) {
	e := op.conv.engine()
	return op.do(&op.u, e, image, in, image, filter)
}

// do runs a unit of two inputs and one output, compiled at first use.
func (b *opBase) do(u **unit, e engine.Op, out layout, in []G.Value, layouts ...layout) (G.Value, error) {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	if *u == nil {
		var ports []port
		var shapes []tensor.Shape
		for i, v := range in {
			shapes = append(shapes, v.Shape().Clone())
			ports = append(ports, port{shape: shapes[i], layout: layouts[i]})
		}
		s, err := b.shape(shapes)
		if err != nil {
			return nil, b.wrap(err)
		}
		if *u, err = b.k.unit(e, ports, []port{{shape: s, layout: out}}); err != nil {
			return nil, b.wrap(err)
		}
	}
	if err := (*u).run(b.k, in...); err != nil {
		return nil, b.wrap(err)
	}
	return (*u).result(0), nil
}

// DiffWRT implements gorgonia.SDOp.
func (op *conv2dOp) DiffWRT(inputs int) []bool { return []bool{true, true} }

// SymDiff implements gorgonia.SDOp.
func (op *conv2dOp) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	x, w := in[0].Shape(), in[1].Shape()
	data := &conv2dDataOp{conv: op.conv, x: x}
	data.opBase = newBase(op.k, func([]tensor.Shape) (tensor.Shape, error) { return x.Clone(), nil },
		[]hm.Type{imageType, imageType, imageType}, "Conv2dBackwardData{%v,x=%v}", op.conv, x)
	weight := &conv2dWeightOp{conv: op.conv, w: w}
	weight.opBase = newBase(op.k, func([]tensor.Shape) (tensor.Shape, error) { return w.Clone(), nil },
		[]hm.Type{imageType, imageType, imageType}, "Conv2dBackwardWeight{%v,w=%v}", op.conv, w)
	dx, err := G.ApplyOp(data, grad, in[1])
	if err != nil {
		return nil, err
	}
	dw, err := G.ApplyOp(weight, in[0], grad)
	if err != nil {
		return nil, err
	}
	return G.Nodes{dx, dw}, nil
}

// A conv2dDataOp is dx from dy and w.
type conv2dDataOp struct {
	opBase
	conv Conv
	x    tensor.Shape
	u    *unit
}

// Do implements gorgonia.Op.
func (op *conv2dDataOp) Do(in ...G.Value) (G.Value, error) {
	e := engine.Conv2DBackwardData{Conv2D: op.conv.engine(), X: image.spec(op.x)}
	return op.do(&op.u, e, image, in, image, filter)
}

// A conv2dWeightOp is dw from x and dy.
type conv2dWeightOp struct {
	opBase
	conv Conv
	w    tensor.Shape
	u    *unit
}

// Do implements gorgonia.Op.
func (op *conv2dWeightOp) Do(in ...G.Value) (G.Value, error) {
	e := engine.Conv2DBackwardWeight{Conv2D: op.conv.engine(), W: filter.spec(op.w)}
	return op.do(&op.u, e, filter, in, image, image)
}
