package onnxnet

import (
	"math"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// stem recognizes a convolution in integers that is written in whole numbers of
// float32, as package onnx writes a net's first layer, by its last node: with codes q
// of scale s,
//
//	DequantizeLinear(QuantizeLinear(MaxPool(Conv(DequantizeLinear(q, 1, z), w, b))·m, 1, z'), s', z')
//
// is DequantizeLinear(MaxPool(QLinearConv(q, s, z, w, m·s'/s, 0, s', z', b)), s', z').
// readers are the numbers of readers of tensors.
func (g *graph) stem(last *onnxread.Node, readers map[string]int) bool {
	before := func(n *onnxread.Node, op string) *onnxread.Node {
		if n == nil || len(n.In) == 0 || readers[n.In[0]] != 1 {
			return nil
		}
		return g.made(n.In[0], op)
	}
	quantize := before(last, "QuantizeLinear")
	mul := before(quantize, "Mul")
	pool := before(mul, "MaxPool")
	conv := before(pool, "Conv")
	back := before(conv, "DequantizeLinear")
	first := before(back, "QuantizeLinear")
	if first == nil || !g.codedBy(quantize, 1) || !g.codedBy(back, 1) || len(conv.In) != 3 || len(mul.In) != 2 {
		return false
	}
	from, ok := g.coding(first)
	to, ok2 := g.coding(last)
	w, b, m := g.consts[conv.In[1]], g.consts[conv.In[2]], g.consts[mul.In[1]]
	if !ok || !ok2 || !wholeNumbers(w, 127) || !wholeNumbers(b, 1<<24) || m == nil || m.len() != b.len() || len(w.shape) != 4 {
		return false
	}
	if k, ok := g.coding(back); !ok || !slices.Equal(k.zero, from.zero) || k.signed != from.signed {
		return false
	}
	if k, ok := g.coding(quantize); !ok || !slices.Equal(k.zero, to.zero) || k.signed != to.signed {
		return false
	}
	scales := &array{shape: []int{b.len()}}
	for i := range b.len() {
		scales.f = append(scales.f, weightScale(from.scale[0], to.scale[0], float32(m.at(i))))
	}
	name := conv.Name + " in integers, "
	g.consts[name+"weight"], g.consts[name+"scale"], g.consts[name+"bias"] = w.integers("int8"), scales, b.integers("int32")
	made := *conv
	made.Op = "QLinearConv"
	made.In = []string{first.Out[0], first.In[1], first.In[2], name + "weight", name + "scale", "", last.In[1], last.In[2], name + "bias"}
	g.replace(conv, &made)
	end := *last
	end.In = append([]string{pool.Out[0]}, last.In[1:]...)
	g.replace(last, &end)
	return true
}

// replace puts a node of the same outputs in another's place.
func (g *graph) replace(old, made *onnxread.Node) {
	g.nodes[slices.Index(g.nodes, old)] = made
	for _, out := range made.Out {
		g.maker[out] = made
	}
}

// coding returns the coding of QuantizeLinear or DequantizeLinear, if it has one scale
// and a zero point.
func (g *graph) coding(n *onnxread.Node) (*coding, bool) {
	if len(n.In) != 3 || g.consts[n.In[2]] == nil {
		return nil, false
	}
	k, err := codingOf(g.consts[n.In[1]], g.consts[n.In[2]], 0)
	return k, err == nil && len(k.scale) == 1
}

// codedBy reports whether codes of n have the given scale.
func (g *graph) codedBy(n *onnxread.Node, scale float32) bool {
	k, ok := g.coding(n)
	return ok && k.scale[0] == scale
}

// wholeNumbers reports whether a constant's elements are integers of at most the given size.
func wholeNumbers(a *array, most float64) bool {
	if a == nil || a.ints {
		return false
	}
	for k := range a.len() {
		if v := a.at(k); v != math.Trunc(v) || !(math.Abs(v) <= most) {
			return false
		}
	}
	return true
}

// integers returns whole numbers as integers of a type.
func (a *array) integers(dtype string) *array {
	out := &array{name: a.name, shape: a.shape, ints: true, dtype: dtype}
	for k := range a.len() {
		out.i = append(out.i, int64(a.int(k)))
	}
	return out
}

// weightScale returns the scale w for which float32(from·w)/to, rounded, is m, or if
// none is found the nearest to it.
func weightScale(from, to, m float32) float32 {
	best := float32(float64(m) * float64(to) / float64(from))
	near := int32(math.Float32bits(best))
	for _, d := range []int32{0, 1, -1, 2, -2, 3, -3} {
		if w := math.Float32frombits(uint32(near + d)); w > 0 && float32(from*w)/to == m {
			return w
		}
	}
	return best
}
