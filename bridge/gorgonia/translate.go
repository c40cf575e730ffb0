package bridge

import (
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A translator makes the engine's graph from Gorgonia's.
type translator struct {
	*view
	b      *engine.Builder
	memo   map[*G.Node]*engine.Value
	inside map[*G.Node]bool // nodes that some operator has swallowed: no value of their own there
	leaves map[*G.Node]*leaf
	order  []*leaf
	norms  []*norm
	modes  []mode
	moving map[*G.Node]bool // what gradients are taken with respect to
}

// A leaf is an input of Gorgonia's graph in the engine's.
type leaf struct {
	node     *G.Node
	layout   layout
	value    *engine.Value
	variable *engine.Variable // nil for what is bound at every run
	staged   []float32        // the value as the engine wants it
	last     []float32        // a variable's value when it was uploaded, in Gorgonia's order
	ready    bool             // last is set
}

// A mode is the training flag that an operator had when it was translated.
type mode struct {
	node     *G.Node
	training bool
}

func newTranslator(v *view, g *engine.Graph) *translator {
	return &translator{view: v, b: engine.NewBuilder(g),
		memo: make(map[*G.Node]*engine.Value), inside: make(map[*G.Node]bool),
		leaves: make(map[*G.Node]*leaf), moving: make(map[*G.Node]bool)}
}

// apply adds an operator of the engine for node n.
func (t *translator) apply(n *G.Node, op engine.Op, in ...*engine.Value) ([]*engine.Value, error) {
	defer t.b.Scope(n.Name())()
	out := t.b.Apply(op, in...)
	if err := t.b.Err(); err != nil {
		return nil, refuse(n, "%v", err)
	}
	return out, nil
}

func (t *translator) one(n *G.Node, op engine.Op, in ...*engine.Value) (*engine.Value, error) {
	out, err := t.apply(n, op, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// value returns the engine's value of a node, in the node's usual layout.
func (t *translator) value(n *G.Node) (*engine.Value, error) {
	if v, ok := t.memo[n]; ok {
		return v, nil
	}
	v, err := t.make(n)
	if err != nil {
		return nil, err
	}
	if want := usual(n.Shape()).spec(n.Shape()); !v.Spec.Equal(want) {
		return nil, merged(n, "the engine computes %v, the node is %v", v.Spec, want)
	}
	t.memo[n] = v
	return v, nil
}

// make translates one node.
func (t *translator) make(n *G.Node) (*engine.Value, error) {
	if kind(n) == "" {
		return t.leaf(n, usual(n.Shape()), false)
	}
	if len(n.Shape()) == 0 {
		if f, ok, err := t.crossEntropy(n); ok || err != nil {
			return f, err
		}
	}
	switch op := n.Op().(type) {
	case *conv2dOp:
		return t.conv(n, nil)
	case *relu6Op:
		return t.unary(n, engine.Activation{F: engine.ReLU6})
	case *BatchNorm2dOp:
		return t.ourNorm(n, op)
	}
	switch kind(n) {
	case "transposeOp":
		return t.conv(n, nil)
	case "elemBinOp":
		return t.binary(n)
	case "elemUnaryOp", "sumOp":
		return t.multiple(n)
	case "linAlgBinOp":
		return t.matMul(n, nil)
	case "reshapeOp":
		return t.reshape(n)
	case "maxPoolOp":
		return t.maxPool(n)
	case "globalAveragePoolOp":
		return t.globalPool(n)
	case "BatchNormOp":
		return t.norm(n, n, nil, nil)
	case "dropoutOp":
		return t.dropout(n)
	case "softmaxOp":
		return nil, refuse(n, "the engine has softmax only as an output of rank 2 and inside a cross-entropy, Sum or Mean of LogSoftMax ⊙ target")
	case "avgPoolOp":
		return nil, refuse(n, "Gorgonia's AveragePool2D divides by the input's width and not by the window's area; use GlobalAveragePool2D or Mean over the axes 2 and 3")
	case "constantScalar":
		return nil, refuse(n, "a constant that is neither a factor nor a summand of a tensor")
	}
	return nil, refuse(n, "the engine has no such operator")
}

func (t *translator) unary(n *G.Node, op engine.Op) (*engine.Value, error) {
	x, err := t.value(t.in[n][0])
	if err != nil {
		return nil, err
	}
	return t.one(n, op, x)
}

// leaf returns the value of an input. A parameter becomes a variable, which is
// uploaded when its value changes; other inputs are uploaded at every run.
func (t *translator) leaf(n *G.Node, l layout, parameter bool) (*engine.Value, error) {
	if old, ok := t.leaves[n]; ok {
		if old.layout != l {
			return nil, refuse(n, "it is used as %v and as %v; use two inputs", old.layout, l)
		}
		return old.value, nil
	}
	if len(n.Shape()) == 0 {
		return nil, refuse(n, "a scalar input; use a constant, or a tensor")
	}
	s := l.spec(n.Shape())
	f := &leaf{node: n, layout: l, staged: make([]float32, s.Len())}
	if parameter {
		f.variable = &engine.Variable{Name: n.Name(), Spec: s, Trainable: t.moving[n]}
		f.value = t.b.Variable(f.variable)
		f.last = make([]float32, s.Len())
	} else {
		f.value = t.b.Input(n.Name(), s)
	}
	if err := t.b.Err(); err != nil {
		return nil, refuse(n, "%v", err)
	}
	t.leaves[n], t.order = f, append(t.order, f)
	return f.value, nil
}

// binary translates +, -, ⊙ and ÷.
func (t *translator) binary(n *G.Node) (*engine.Value, error) {
	a, b := t.in[n][0], t.in[n][1]
	switch symbol(n) {
	case "+":
		return t.sum(n, a, b, 1)
	case "-":
		return t.sum(n, a, b, -1)
	case "⊙":
		if x, ok := t.rectified(n); ok {
			t.inside[a], t.inside[b] = a != x, b != x
			v, err := t.value(x)
			if err != nil {
				return nil, err
			}
			return t.one(n, engine.Activation{F: engine.ReLU}, v)
		}
		if base, ok := t.perChannel(b); ok {
			return t.scale(n, a, base)
		}
		if base, ok := t.perChannel(a); ok {
			return t.scale(n, b, base)
		}
		return t.multiple(n)
	case "÷":
		return t.multiple(n)
	}
	return nil, refuse(n, "the engine has no such operator")
}

// rectified matches gorgonia.Rectify, x ⊙ (x ≥ 0), and returns x.
func (t *translator) rectified(n *G.Node) (*G.Node, bool) {
	for i, step := range t.in[n] {
		x := t.in[n][1-i]
		if kind(step) != "elemBinOp" || symbol(step) != ">=" && symbol(step) != ">" || !fieldsOf(step.Op()).bool("retSame") {
			continue
		}
		if zero, ok := t.constant(t.in[step][1]); ok && zero == 0 && t.in[step][0] == x {
			return x, true
		}
	}
	return nil, false
}

// sum translates a + sign·b.
func (t *translator) sum(n, a, b *G.Node, sign float32) (*engine.Value, error) {
	if base, ok := t.perChannel(b); ok {
		return t.shift(n, a, base, 1, sign)
	}
	if base, ok := t.perChannel(a); ok {
		return t.shift(n, b, base, sign, 1)
	}
	weights := []float32{1, sign}
	var v [2]*engine.Value
	for i, x := range []*G.Node{a, b} {
		if c, ok := t.constant(x); ok {
			s := usual(n.Shape()).spec(n.Shape())
			fill, err := t.one(n, engine.Fill{Value: float32(c), Shape: s.Shape})
			if err != nil {
				return nil, err
			}
			v[i] = fill
			continue
		}
		var err error
		if v[i], err = t.value(x); err != nil {
			return nil, err
		}
	}
	return t.one(n, engine.Add{Weights: weights}, v[0], v[1])
}

// multiple translates constant multiples: negation, products and quotients
// with a constant, and sums over an image, which are multiples of its mean.
func (t *translator) multiple(n *G.Node) (*engine.Value, error) {
	base, c, err := t.factor(n)
	if err != nil || c == 1 {
		return base, err
	}
	return t.one(n, engine.Add{Weights: []float32{float32(c)}}, base)
}

// factor takes constant factors off n: n = c·base.
func (t *translator) factor(n *G.Node) (base *engine.Value, c float64, err error) {
	in := t.in[n]
	of := func(x *G.Node, k float64) (*engine.Value, float64, error) {
		if !t.multiplies(x) {
			v, err := t.value(x)
			return v, k, err
		}
		t.inside[x] = true
		base, c, err := t.factor(x)
		return base, k * c, err
	}
	switch {
	case kind(n) == "elemUnaryOp" && symbol(n) == "neg":
		return of(in[0], -1)
	case kind(n) == "sumOp":
		x, area, err := t.spatial(n)
		if err != nil {
			return nil, 0, err
		}
		v, err := t.value(x)
		if err != nil {
			return nil, 0, err
		}
		mean, err := t.one(n, engine.GlobalAvgPool{}, v)
		return mean, float64(area), err
	case kind(n) == "elemBinOp" && symbol(n) == "÷":
		if k, ok := t.constant(in[1]); ok && k != 0 {
			return of(in[0], 1/k)
		}
		return nil, 0, refuse(n, "the engine divides by constants only")
	case kind(n) == "elemBinOp" && symbol(n) == "⊙":
		for i := range in {
			if k, ok := t.constant(in[i]); ok {
				return of(in[1-i], k)
			}
		}
		return nil, 0, refuse(n, "the engine multiplies by constants and by one factor a channel only; products of two tensors are translated as Rectify, as BatchNorm's scale, and in a cross-entropy")
	}
	return nil, 0, refuse(n, "the engine has no such operator")
}

// multiplies reports whether factor takes x apart.
func (t *translator) multiplies(x *G.Node) bool {
	if len(t.in[x]) == 0 || t.memo[x] != nil {
		return false
	}
	switch kind(x) {
	case "sumOp":
		return true
	case "elemUnaryOp":
		return symbol(x) == "neg"
	case "elemBinOp":
		_, first := t.constant(t.in[x][0])
		_, second := t.constant(t.in[x][1])
		return symbol(x) == "÷" && second || symbol(x) == "⊙" && (first || second)
	}
	return false
}

// spatial matches a sum over the height and width of an image, as
// gorgonia.Mean(x, 2, 3) or gorgonia.Mean(reshaped to [N,C,HW], 2) contain it,
// and returns the image.
func (t *translator) spatial(n *G.Node) (x *G.Node, area int, err error) {
	f := fieldsOf(n.Op())
	along := f.ints("along")
	if f.err != nil {
		return nil, 0, f.err
	}
	x = t.in[n][0]
	s := x.Shape()
	if len(s) == 3 && len(along) == 1 && along[0] == 2 && kind(x) == "reshapeOp" {
		y := t.in[x][0]
		if ys := y.Shape(); len(ys) == 4 && ys[0] == s[0] && ys[1] == s[1] {
			t.inside[x] = true
			return y, s[2], nil
		}
	}
	if len(s) == 4 && len(along) == 2 && along[0]+along[1] == 5 && along[0]*along[1] == 6 {
		return x, s[2] * s[3], nil
	}
	return nil, 0, refuse(n, "the engine sums over the height and width of an image only, and over all of a cross-entropy")
}

// perChannel matches an input with one value a channel that is repeated over
// all other axes of n, as gorgonia.Broadcast does it, and returns the input.
func (t *translator) perChannel(n *G.Node) (*G.Node, bool) {
	s := n.Shape()
	if len(s) != 4 && len(s) != 2 || kind(n) != "repeatOp" {
		return nil, false
	}
	for kind(n) == "repeatOp" {
		f := fieldsOf(n.Op())
		axis, x := f.int("along"), t.in[n][0]
		if f.err != nil || axis == 1 || axis >= len(x.Shape()) || len(x.Shape()) != len(s) || x.Shape()[axis] != 1 {
			return nil, false
		}
		t.inside[n] = true
		n = x
	}
	for kind(n) == "reshapeOp" {
		t.inside[n] = true
		n = t.in[n][0]
	}
	ok := kind(n) == "" && n.Shape().TotalSize() == s[1] && onlyChannels(n.Shape(), s[1])
	return n, ok
}

// onlyChannels reports whether s is [C], [1,C], [1,C,1,1] or the like.
func onlyChannels(s tensor.Shape, c int) bool {
	for _, d := range s {
		if d != 1 && d != c {
			return false
		}
	}
	return len(s) > 0
}
