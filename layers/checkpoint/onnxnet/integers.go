package onnxnet

import (
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// products are the operators on integers, what each is on numbers, and the axis of the
// weight that has the outputs.
var products = map[string]struct {
	op   string
	axis int
}{"ConvInteger": {"Conv", 0}, "MatMulInteger": {"MatMul", 1}}

// scaledProduct recognizes a product of integers with its scales,
//
//	Cast(ConvInteger(q, w, z, zw))·S    or MatMulInteger
//
// by its Mul. Where q is QuantizeLinear(x, s, z), S is s·sw, and it is the product of
// DequantizeLinear(q, s, z) and DequantizeLinear(w, sw, zw). Where q, s and z are of
// DynamicQuantizeLinear(x) and S is s·sw, x itself is multiplied: its ranges are found for
// each batch, and a net has none of these.
func (g *graph) scaledProduct(mul *onnxread.Node, readers map[string]int) bool {
	if len(mul.In) != 2 {
		return false
	}
	for i := range mul.In {
		cast := g.made(mul.In[i], "Cast")
		if cast == nil || readers[cast.Out[0]] != 1 || readers[cast.In[0]] != 1 {
			continue
		}
		product := g.maker[cast.In[0]]
		if product == nil || products[product.Op].op == "" || len(product.In) < 2 {
			continue
		}
		kind := products[product.Op]
		from, scale, dynamic := g.factor(product, mul.In[1-i])
		w := g.consts[product.In[1]]
		if from == nil || w == nil || !w.ints || len(w.shape) <= kind.axis || scale.len() != 1 && scale.len() != w.shape[kind.axis] {
			continue
		}
		var zero *array
		if len(product.In) > 3 {
			zero = g.consts[product.In[3]]
			if zero == nil && product.In[3] != "" || zero != nil && zero.len() != 1 && zero.len() != scale.len() {
				continue
			}
		}
		decoded, err := g.fold.dequantized(w, scale, spread(zero, scale.len()), kind.axis)
		if err != nil {
			continue
		}
		name := product.Name + " in numbers, weight"
		g.consts[name] = decoded
		back, made, end := *product, *product, *mul
		if dynamic {
			back.Op, back.In = "Identity", from
			g.found["ranges of activations that are found for each batch, left out"]++
		} else {
			back.Op, back.In = "DequantizeLinear", from
		}
		back.Attrs = nil
		made.Op, made.In, made.Out = kind.op, []string{product.Out[0], name}, cast.Out
		end.Op, end.In, end.Attrs = "Identity", []string{cast.Out[0]}, nil
		g.replace(product, &back)
		g.replace(cast, &made)
		g.replace(mul, &end)
		return true
	}
	return false
}

// factor returns what the first input of a product of integers is decoded of, the
// scales of its weight by the factor behind it, and whether ranges are found for each
// batch; nil if the factor is another.
func (g *graph) factor(product *onnxread.Node, name string) (from []string, scale *array, dynamic bool) {
	zero := ""
	if len(product.In) > 2 {
		zero = product.In[2]
	}
	if q := g.made(product.In[0], "DynamicQuantizeLinear"); q != nil && len(q.Out) == 3 && q.Out[0] == product.In[0] && q.Out[2] == zero {
		m := g.made(name, "Mul")
		if m == nil || len(m.In) != 2 {
			return nil, nil, false
		}
		for i := range m.In {
			if sw := g.consts[m.In[1-i]]; m.In[i] == q.Out[1] && sw != nil && !sw.ints {
				return q.In[:1], vector(sw, 1), true
			}
		}
		return nil, nil, false
	}
	q, all := g.made(product.In[0], "QuantizeLinear"), g.consts[name]
	if q == nil || all == nil || all.ints {
		return nil, nil, false
	}
	k, ok := g.coding(q)
	if z := g.consts[zero]; !ok || z == nil || z.len() != 1 || float32(z.at(0)) != k.zero[0] {
		return nil, nil, false
	}
	return []string{q.Out[0], q.In[1], q.In[2]}, vector(all, k.scale[0]), false
}

// vector returns a constant's values, divided by one number, as a list, of one if all
// are the same.
func vector(a *array, by float32) *array {
	out := &array{}
	for i := range a.len() {
		out.f = append(out.f, float32(a.at(i)/float64(by)))
	}
	if len(out.f) > 0 && !slices.ContainsFunc(out.f, func(v float32) bool { return v != out.f[0] }) {
		out.f = out.f[:1]
	}
	out.shape = []int{len(out.f)}
	return out
}

// spread repeats a zero point for each of n scales.
func spread(zero *array, n int) *array {
	if zero == nil || zero.len() == n || zero.len() != 1 {
		return zero
	}
	return &array{shape: []int{n}, ints: true, dtype: zero.dtype, i: slices.Repeat([]int64{int64(zero.int(0))}, n)}
}
