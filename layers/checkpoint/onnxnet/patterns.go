package onnxnet

import (
	"math"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// The operators that patterns stand for beside ONNX's own.
const (
	opSiLU   = "potstill.SiLU"
	opNorm   = "potstill.Normalize" // (x-mean)/√(var+epsilon) over "axes"
	epsilon  = "epsilon"
	relative = 1e-3 // by which a pattern's constant may be off: exporters write few digits
)

// recognize replaces the last node of each pattern by the operator that the
// pattern stands for. The others go if nothing else reads them.
func (g *graph) recognize() {
	readers := g.readers()
	for i, n := range g.nodes {
		var made *onnxread.Node
		if len(n.Out) == 0 {
			continue
		}
		switch n.Op {
		case "Mul", "Div":
			if n.Op == "Mul" && g.scaledProduct(n, readers) {
				continue
			}
			if made = g.normalization(n); made == nil {
				made = g.product(n)
			}
		case "DequantizeLinear":
			if g.stem(n, readers) {
				g.found["convolution in whole numbers"]++
			}
		}
		if made == nil {
			continue
		}
		made.Name, made.Scope, made.Out = n.Name, n.Scope, n.Out
		g.nodes[i] = made
		for _, out := range n.Out {
			g.maker[out] = made
		}
		g.found[patternNames[made.Op]]++
	}
}

// patternNames are the names of patterns for people.
var patternNames = map[string]string{
	opSiLU: "SiLU", opNorm: "normalization", "HardSwish": "Hardswish", "HardSigmoid": "Hardsigmoid", "Gelu": "GELU", "Mish": "Mish",
}

// number returns the value of a constant of one value.
func (g *graph) number(name string) (float64, bool) {
	if c := g.consts[name]; c != nil {
		return c.scalar()
	}
	return 0, false
}

// near reports whether two numbers are the same but for digits left out.
func near(a, b float64) bool { return math.Abs(a-b) <= relative*math.Abs(b) }

// made returns the node that makes a tensor, if it is of the given operator and
// has the inputs that one of that operator has.
func (g *graph) made(name, op string) *onnxread.Node {
	least := 1
	if op == "Pow" {
		least = 2
	}
	if n := g.maker[name]; n != nil && n.Op == op && len(n.In) >= least {
		return n
	}
	return nil
}

// with returns the other input of an operator of two whose one input is constant,
// and that constant.
func (g *graph) with(n *onnxread.Node) (other string, k float64, ok bool) {
	if n == nil || len(n.In) != 2 {
		return "", 0, false
	}
	if k, ok := g.number(n.In[1]); ok {
		return n.In[0], k, true
	}
	if k, ok := g.number(n.In[0]); ok {
		return n.In[1], k, true
	}
	return "", 0, false
}

// factors takes a product apart: k·f·f·…, through products of products.
func (g *graph) factors(name string, depth int) (k float64, f []string) {
	n := g.maker[name]
	if n == nil || depth == 0 || len(n.In) != 2 || n.Op != "Mul" && n.Op != "Div" {
		return 1, []string{name}
	}
	if n.Op == "Div" {
		d, ok := g.number(n.In[1])
		if !ok || d == 0 {
			return 1, []string{name}
		}
		k, f = g.factors(n.In[0], depth-1)
		return k / d, f
	}
	k = 1
	for _, in := range n.In {
		if c, ok := g.number(in); ok {
			k *= c
			continue
		}
		ki, fi := g.factors(in, depth-1)
		k, f = k*ki, append(f, fi...)
	}
	return k, f
}

// product recognizes an activation that is written as a product: k·x·g(x), or k·g(x).
func (g *graph) product(n *onnxread.Node) *onnxread.Node {
	for depth := 1; depth <= 3; depth++ { // x may be a product, too
		if m := g.productOf(g.factors(n.Out[0], depth)); m != nil {
			return m
		}
	}
	return nil
}

func (g *graph) productOf(k float64, f []string) *onnxread.Node {
	if len(f) == 1 {
		if x, ok := g.hardClip(f[0]); ok && near(k, 1./6) {
			return &onnxread.Node{Op: "HardSigmoid", In: []string{x}, Attrs: floats("alpha", 1./6, "beta", 0.5)}
		}
		return nil
	}
	if len(f) != 2 {
		return nil
	}
	for i := range f {
		if m := g.gated(k, f[i], f[1-i]); m != nil {
			m.In = []string{f[i]}
			return m
		}
	}
	return nil
}

// gated recognizes k·x·gate.
func (g *graph) gated(k float64, x, gate string) *onnxread.Node {
	is := func(name, op string) bool {
		m := g.made(name, op)
		return m != nil && len(m.In) > 0 && m.In[0] == x
	}
	clipped, clip := g.hardClip(gate)
	switch {
	case k == 1 && is(gate, "Sigmoid"):
		return &onnxread.Node{Op: opSiLU}
	case k == 1 && is(gate, "HardSigmoid") && near(float64(g.maker[gate].Float("alpha", 0.2)), 1./6) && g.maker[gate].Float("beta", 0.5) == 0.5:
		return &onnxread.Node{Op: "HardSwish"}
	case near(k, 1./6) && clip && clipped == x:
		return &onnxread.Node{Op: "HardSwish"}
	case k == 1 && g.made(gate, "Tanh") != nil && is(g.maker[gate].In[0], "Softplus"):
		return &onnxread.Node{Op: "Mish"}
	case near(k, 0.5):
		return g.gelu(x, gate)
	}
	return nil
}

// hardClip recognizes min(max(x+3, 0), 6).
func (g *graph) hardClip(name string) (x string, ok bool) {
	clip := g.made(name, "Clip")
	if clip == nil {
		return "", false
	}
	in := make([]*array, len(clip.In))
	for i, name := range clip.In {
		in[i] = g.consts[name]
	}
	low, high, err := clipBounds(clip, in)
	if err != nil || low != 0 || high != 6 {
		return "", false
	}
	x, k, ok := g.with(g.made(clip.In[0], "Add"))
	return x, ok && k == 3
}

// gelu recognizes the gate of GELU: 1 + erf(x/√2), or 1 + tanh(√(2/π)·(x + 0.044715·x³)).
func (g *graph) gelu(x, gate string) *onnxread.Node {
	inner, one, ok := g.with(g.made(gate, "Add"))
	if !ok || one != 1 {
		return nil
	}
	if erf := g.made(inner, "Erf"); erf != nil {
		if k, f := g.factors(erf.In[0], 2); len(f) == 1 && f[0] == x && near(k, 1/math.Sqrt2) {
			return &onnxread.Node{Op: "Gelu"}
		}
		return nil
	}
	tanh := g.made(inner, "Tanh")
	if tanh == nil {
		return nil
	}
	k, f := g.factors(tanh.In[0], 2)
	if len(f) != 1 || !near(k, math.Sqrt(2/math.Pi)) {
		return nil
	}
	add := g.made(f[0], "Add")
	if add == nil || !slices.Contains(add.In, x) {
		return nil
	}
	cube := add.In[0]
	if cube == x {
		cube = add.In[1]
	}
	if k, f := g.factors(cube, 3); near(k, 0.044715) && g.cube(f, x) {
		return &onnxread.Node{Op: "Gelu", Attrs: map[string]*onnxread.Attr{"approximate": {Text: "tanh"}}}
	}
	return nil
}

// cube reports whether factors are those of x³.
func (g *graph) cube(f []string, x string) bool {
	if len(f) == 1 {
		pow := g.made(f[0], "Pow")
		if pow == nil || pow.In[0] != x {
			return false
		}
		k, ok := g.number(pow.In[1])
		return ok && k == 3
	}
	return len(f) == 3 && f[0] == x && f[1] == x && f[2] == x
}

// normalization recognizes (x-mean(x))/√(mean((x-mean(x))²)+ε), written with Div or
// with Mul by a reciprocal.
func (g *graph) normalization(n *onnxread.Node) *onnxread.Node {
	if len(n.In) != 2 {
		return nil
	}
	centered, root := n.In[0], n.In[1]
	if n.Op == "Mul" {
		r := g.made(root, "Reciprocal")
		if r == nil {
			if centered, root = root, centered; g.made(root, "Reciprocal") == nil {
				return nil
			}
			r = g.made(root, "Reciprocal")
		}
		root = r.In[0]
	}
	x, axes, ok := g.centered(centered)
	if !ok {
		return nil
	}
	sqrt := g.made(root, "Sqrt")
	if sqrt == nil {
		return nil
	}
	variance, eps, ok := g.with(g.made(sqrt.In[0], "Add"))
	if !ok {
		return nil
	}
	mean := g.made(variance, "ReduceMean")
	if mean == nil {
		return nil
	}
	square, again := g.square(mean.In[0])
	if x2, axes2, ok := g.centered(square); !again || !ok || x2 != x || !slices.Equal(axes, axes2) || !slices.Equal(axes, g.axes(mean)) {
		return nil
	}
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	attrs := floats(epsilon, eps)
	attrs["axes"] = &onnxread.Attr{Ints: list}
	return &onnxread.Node{Op: opNorm, In: []string{x}, Attrs: attrs}
}

// centered recognizes x - mean(x).
func (g *graph) centered(name string) (x string, axes []int, ok bool) {
	sub := g.made(name, "Sub")
	if sub == nil || len(sub.In) != 2 {
		return "", nil, false
	}
	mean := g.made(sub.In[1], "ReduceMean")
	if mean == nil || mean.In[0] != sub.In[0] || mean.Int("keepdims", 1) == 0 {
		return "", nil, false
	}
	axes = g.axes(mean)
	return sub.In[0], axes, axes != nil
}

// axes returns the axes of a reduction as they are written, nil if they are not known.
func (g *graph) axes(n *onnxread.Node) []int {
	if len(n.In) > 1 {
		if c := g.consts[n.In[1]]; c != nil {
			return c.list()
		}
		return nil
	}
	return n.Ints("axes")
}

// square recognizes x².
func (g *graph) square(name string) (x string, ok bool) {
	if pow := g.made(name, "Pow"); pow != nil {
		k, ok := g.number(pow.In[1])
		return pow.In[0], ok && k == 2
	}
	if mul := g.made(name, "Mul"); mul != nil && len(mul.In) == 2 && mul.In[0] == mul.In[1] {
		return mul.In[0], true
	}
	return "", false
}

// floats returns attributes that are floats: names and values in turns.
func floats(pairs ...any) map[string]*onnxread.Attr {
	out := make(map[string]*onnxread.Attr)
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i].(string)] = &onnxread.Attr{Float: float32(pairs[i+1].(float64))}
	}
	return out
}
