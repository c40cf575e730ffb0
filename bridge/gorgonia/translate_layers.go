package bridge

import (
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
)

// A convolution is what matchConv finds.
type convolution struct {
	x, w *G.Node
	op   engine.Conv2D
}

// matchConv matches gorgonia.Conv2d, which is Transpose(Reshape(A × Bᵀ)) of
// the reshaped im2col and the reshaped filter, and this package's Conv2d.
func (t *translator) matchConv(n *G.Node) (c convolution, ok bool, err error) {
	if op, ours := n.Op().(*conv2dOp); ours {
		return convolution{t.in[n][0], t.in[n][1], op.conv.engine()}, true, nil
	}
	if kind(n) != "transposeOp" {
		return c, false, nil
	}
	back := t.in[n][0]
	if kind(back) != "reshapeOp" || kind(t.in[back][0]) != "linAlgBinOp" {
		return c, false, nil
	}
	product := t.in[back][0]
	patch, flat := t.in[product][0], t.in[product][1]
	if kind(patch) != "reshapeOp" || kind(flat) != "reshapeOp" || kind(t.in[patch][0]) != "im2colOp" {
		return c, false, nil
	}
	columns := t.in[patch][0]
	p, m, f := fieldsOf(n.Op()), fieldsOf(product.Op()), fieldsOf(columns.Op())
	axes, transA, transB := p.ints("pattern"), m.bool("transA"), m.bool("transB")
	h, w := f.int("h"), f.int("w")
	strideH, strideW, padH, padW := f.int("strideH"), f.int("strideW"), f.int("padH"), f.int("padW")
	dilationH, dilationW := f.int("dilationH"), f.int("dilationW")
	for _, e := range []error{p.err, m.err, f.err} {
		if e != nil {
			return c, false, e
		}
	}
	if len(axes) != 4 || [4]int(axes) != [4]int{0, 3, 1, 2} || transA || !transB {
		return c, false, nil
	}
	c = convolution{t.in[columns][0], t.in[flat][0], engine.Conv2D{
		Stride: engine.Pair{strideH, strideW}, Pad: engine.Pads{padH, padW, padH, padW}, Dilation: engine.Pair{dilationH, dilationW}, Groups: 1}}
	ws, xs := c.w.Shape(), c.x.Shape()
	switch {
	case len(ws) != 4 || len(xs) != 4:
		return c, false, nil
	case ws[2] != h || ws[3] != w || ws[1] != xs[1]:
		return c, false, merged(n, "the filter %v and the window %dx%d over %d channels do not fit", ws, h, w, xs[1])
	}
	for _, s := range []*G.Node{back, product, patch, flat, columns} {
		t.inside[s] = true
	}
	return c, true, nil
}

// conv translates a convolution, with a bias [O] or nil.
func (t *translator) conv(n *G.Node, bias *engine.Value) (*engine.Value, error) {
	c, ok, err := t.matchConv(n)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(n, "transpositions are translated as a part of Conv2d, and of an input that Mul multiplies by")
	}
	if kind(c.w) != "" {
		return nil, refuse(c.w, "the filter of a convolution must be an input")
	}
	x, err := t.value(c.x)
	if err != nil {
		return nil, err
	}
	w, err := t.leaf(c.w, filter, true)
	if err != nil {
		return nil, err
	}
	if bias == nil {
		return t.one(n, c.op, x, w)
	}
	return t.one(n, c.op, x, w, bias)
}

// shift translates xSign·x + sign·base, base having one value a channel: as
// the bias of a convolution or a matrix product, as a BatchNorm's shift, or as
// the bias of a depthwise convolution by one.
func (t *translator) shift(n, x, base *G.Node, xSign, sign float32) (*engine.Value, error) {
	b, err := t.leaf(base, channels, true)
	if err != nil {
		return nil, err
	}
	if sign < 0 {
		if b, err = t.one(n, engine.Add{Weights: []float32{-1}}, b); err != nil {
			return nil, err
		}
	}
	if xSign > 0 && t.memo[x] == nil {
		if v, ok, err := t.shifted(x, b); ok || err != nil {
			return v, err
		}
	}
	v, err := t.value(x)
	if err != nil {
		return nil, err
	}
	if len(x.Shape()) != 4 {
		return nil, refuse(n, "one value a column is added behind Mul only")
	}
	one, err := t.one(n, engine.Fill{Value: xSign, Shape: []int{1, 1, 1, x.Shape()[1]}})
	if err != nil {
		return nil, err
	}
	return t.one(n, engine.Conv2D{Groups: x.Shape()[1]}, v, one, b)
}

// shifted translates x with the bias b, if its operator takes one.
func (t *translator) shifted(x *G.Node, b *engine.Value) (*engine.Value, bool, error) {
	var v *engine.Value
	_, conv, err := t.matchConv(x)
	switch {
	case err != nil:
		return nil, false, err
	case conv:
		v, err = t.conv(x, b)
	case kind(x) == "linAlgBinOp":
		v, err = t.matMul(x, b)
	case kind(x) == "BatchNormOp":
		v, err = t.norm(x, x, nil, b)
	case kind(x) == "elemBinOp" && symbol(x) == "⊙":
		for i, g := range t.in[x] {
			base, ok := t.perChannel(g)
			if y := t.in[x][1-i]; ok && kind(y) == "BatchNormOp" {
				t.inside[x], t.inside[y] = true, true
				v, err = t.scaledNorm(x, y, base, b)
				return v, true, err
			}
		}
		return nil, false, nil
	default:
		return nil, false, nil
	}
	t.inside[x] = true
	return v, true, err
}

// scale translates x ⊙ base, base having one factor a channel: as BatchNorm's
// scale or as a depthwise convolution.
func (t *translator) scale(n, x, base *G.Node) (*engine.Value, error) {
	if kind(x) == "BatchNormOp" {
		t.inside[x] = true
		return t.scaledNorm(n, x, base, nil)
	}
	if len(x.Shape()) != 4 {
		return nil, refuse(n, "factors for channels are translated for images only")
	}
	v, err := t.value(x)
	if err != nil {
		return nil, err
	}
	w, err := t.leaf(base, channelFilter, true)
	if err != nil {
		return nil, err
	}
	return t.one(n, engine.Conv2D{Groups: x.Shape()[1]}, v, w)
}

func (t *translator) scaledNorm(n, bn, scale *G.Node, shift *engine.Value) (*engine.Value, error) {
	g, err := t.leaf(scale, channels, true)
	if err != nil {
		return nil, err
	}
	return t.norm(n, bn, g, shift)
}

// matMul translates Mul of two matrices, with a bias [O] or nil.
func (t *translator) matMul(n *G.Node, bias *engine.Value) (*engine.Value, error) {
	f := fieldsOf(n.Op())
	transA, transB := f.bool("transA"), f.bool("transB")
	if f.err != nil {
		return nil, f.err
	}
	a, b := t.in[n][0], t.in[n][1]
	if len(a.Shape()) != 2 || len(b.Shape()) != 2 || transA {
		return nil, refuse(n, "of matrix products the engine has x × w with matrices x [N,I] and w [I,O]")
	}
	l := plain
	if transB {
		l = transposed
	}
	if kind(b) == "transposeOp" {
		t.inside[b] = true
		if b = t.in[b][0]; !transB {
			l = transposed
		} else {
			l = plain
		}
	}
	x, err := t.value(a)
	if err != nil {
		return nil, err
	}
	var w *engine.Value
	if kind(b) == "" {
		w, err = t.leaf(b, l, true)
	} else if l == plain {
		w, err = t.value(b)
	} else {
		err = refuse(n, "a transposed second factor must be an input")
	}
	if err != nil {
		return nil, err
	}
	if bias == nil {
		return t.one(n, engine.Linear{}, x, w)
	}
	return t.one(n, engine.Linear{}, x, w, bias)
}

// reshape translates what keeps the elements where they are, an image to rows
// [N,C·H·W], and rows to an image (through which no gradient flows).
func (t *translator) reshape(n *G.Node) (*engine.Value, error) {
	x := t.in[n][0]
	from, to := x.Shape(), n.Shape()
	if kind(x) == "globalAveragePoolOp" && len(to) == 2 && to[0] == from[0] {
		t.inside[x] = true
		return t.unaryOf(n, t.in[x][0], engine.GlobalAvgPool{})
	}
	switch {
	case from.Eq(to):
		return t.value(x)
	case len(from) == 4 && len(to) == 2 && from[0] == to[0]:
		return t.unaryOf(n, x, engine.Flatten{})
	case len(from) == 2 && len(to) == 4 && from[0] == to[0]:
		return t.unaryOf(n, x, engine.FlattenBackward{X: image.spec(to)})
	}
	return nil, refuse(n, "from %v to %v: the engine reshapes images [N,C,H,W] to rows [N,C·H·W] and back", from, to)
}

func (t *translator) unaryOf(n, x *G.Node, op engine.Op) (*engine.Value, error) {
	v, err := t.value(x)
	if err != nil {
		return nil, err
	}
	return t.one(n, op, v)
}

func (t *translator) maxPool(n *G.Node) (*engine.Value, error) {
	f := fieldsOf(n.Op())
	w := engine.Window{
		Kernel: engine.Pair{f.int("h"), f.int("w")}, Stride: engine.Pair{f.int("strideH"), f.int("strideW")},
		Pad: engine.Pads{f.int("padNorth"), f.int("padWest"), f.int("padSouth"), f.int("padEast")},
	}
	if f.err != nil {
		return nil, f.err
	}
	return t.unary(n, engine.MaxPool2D{Window: w})
}

// globalPool translates GlobalAveragePool2D, which keeps the axes.
func (t *translator) globalPool(n *G.Node) (*engine.Value, error) {
	return t.unary(n, engine.GlobalAvgPool{KeepDims: true})
}

func (t *translator) dropout(n *G.Node) (*engine.Value, error) {
	f := fieldsOf(n.Op())
	training, p := f.bool("isTraining"), f.float("probability")
	if f.err != nil {
		return nil, f.err
	}
	if training && p > 0 {
		return nil, refuse(n, "dropout in training draws Gorgonia's random numbers, which the engine does not have; compile with the operator's SetTraining(false)")
	}
	t.modes = append(t.modes, mode{n, training})
	return t.value(t.in[n][0])
}
