package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// linearOperators multiply by a matrix.
var linearOperators = map[string]operator{"Gemm": gemm, "MatMul": matMul}

func gemm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil {
		return nil, err
	}
	if c[0] == nil || len(c[0].shape) != 2 || len(a.axes) != 2 {
		return nil, fmt.Errorf("it does not multiply a matrix by a constant one")
	}
	if n.Int("transA", 0) != 0 {
		a = a.with([]axis{a.axes[1], a.axes[0]})
	}
	w := matrix{c: c[0], transposed: n.Int("transB", 0) != 0, scale: n.Float("alpha", 1)}
	return t.linear(n, a, w, c[1], n.Float("beta", 1))
}

func matMul(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	if len(in) == 2 && in[0].c != nil {
		return nil, fmt.Errorf("its first input is constant; only x·W is taken, with a constant W")
	}
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil {
		return nil, fmt.Errorf("both its inputs are computed from the image, as attention has it; only x·W is taken, with a constant W")
	}
	if c[0] == nil || len(c[0].shape) != 2 || len(a.axes) < 2 {
		return nil, fmt.Errorf("it does not multiply by a constant matrix")
	}
	return t.linear(n, a, matrix{c: c[0], scale: 1}, nil, 0)
}

// A matrix is a constant [K,M], or [M,K] where it is transposed.
type matrix struct {
	c          *array
	transposed bool
	scale      float32
}

func (w matrix) size() (k, m int) {
	if w.transposed {
		return w.c.shape[1], w.c.shape[0]
	}
	return w.c.shape[0], w.c.shape[1]
}

// linear is x·W + factor·b over the last axis of a: a Linear, or a convolution of
// 1x1 where the image has pixels left.
func (t *translator) linear(n *onnxread.Node, a *act, w matrix, bias *array, factor float32) ([]value, error) {
	last := len(a.axes) - 1
	k, m := w.size()
	x := a.axes[last]
	if x.size() != k || m == 0 || k == 0 {
		return nil, fmt.Errorf("a matrix of %v for %v", w.c.shape, a.shape())
	}
	if x.size() == a.c && !a.flat && a.h*a.w > 1 && x.only(channel) {
		return t.pixelwise(n, a, w, bias, factor)
	}
	for i, y := range a.axes[:last] {
		if len(y) > 0 && !slices.Equal(y, whole(batch, a.n)) {
			return nil, fmt.Errorf("axis %d of %v is neither the batch nor part of what is multiplied", i, a.shape())
		}
	}
	if k != a.c*a.h*a.w || slices.ContainsFunc(x, func(p atom) bool { return p.dim == batch }) {
		return nil, fmt.Errorf("a matrix of %v for %v", w.c.shape, a.shape())
	}
	a = t.flatten(n, a)
	order := permuted(a.axes[last])
	data, err := t.weights(w, order)
	if err != nil {
		return nil, err
	}
	out := &act{n: a.n, h: 1, w: 1, c: m, flat: true, axes: slices.Clone(a.axes)}
	out.axes[last] = whole(channel, m)
	all, err := t.biased(out, data, bias, factor)
	if err != nil {
		return nil, err
	}
	out.from = t.emit(n, out, "Linear", map[string]any{"in_features": k, "out_features": m, "bias": len(all) == 2}, all, a.from)
	return []value{{a: out}}, nil
}

// pixelwise is linear over the channels of each pixel.
func (t *translator) pixelwise(n *onnxread.Node, a *act, w matrix, bias *array, factor float32) ([]value, error) {
	a, err := t.settled(n, a)
	if err != nil {
		return nil, err
	}
	k, m := w.size()
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	data, err := t.weights(w, order)
	if err != nil {
		return nil, err
	}
	data.shape = []int{m, k, 1, 1}
	out := *a
	out.c, out.axes = m, slices.Clone(a.axes)
	out.axes[len(out.axes)-1] = whole(channel, m)
	all, err := t.biased(&out, data, bias, factor)
	if err != nil {
		return nil, err
	}
	out.from = t.emit(n, &out, "Conv2d", map[string]any{"in_channels": k, "out_channels": m, "kernel_size": 1, "bias": len(all) == 2}, all, a.from)
	return []value{{a: &out}}, nil
}

// weights returns W as PyTorch has it, [M,K], with its K in another order: what
// stood at place i belongs to feature order[i].
func (t *translator) weights(w matrix, order []int) (weight, error) {
	data, err := t.fold.whole(w.c)
	if err != nil {
		return weight{}, err
	}
	k, m := w.size()
	out := weight{role: "weight", shape: []int{m, k}, from: w.c}
	plain := w.scale == 1
	if output := 1; plain {
		if w.transposed {
			output = 0
		}
		out.codes = w.c.coding.along(output)
	}
	for i, at := range order {
		plain = plain && i == at
	}
	if plain && w.transposed {
		out.data = data
		return out, nil
	}
	if err := t.fold.take(m * k); err != nil {
		return out, err
	}
	out.data = make([]float32, m*k)
	for i, at := range order {
		for o := range m {
			v := 0
			if w.transposed {
				v = o*k + i
			} else {
				v = i*m + o
			}
			out.data[o*k+at] = data[v] * w.scale
		}
	}
	return out, nil
}

// biased adds a constant that is broadcast over the batch.
func (t *translator) biased(out *act, w weight, bias *array, factor float32) ([]weight, error) {
	if bias == nil {
		return []weight{w}, nil
	}
	b, err := t.channelVector("bias", out, bias)
	if err != nil {
		return nil, err
	}
	if factor != 1 {
		scaled := make([]float32, len(b.data))
		for i, v := range b.data {
			scaled[i] = v * factor
		}
		b.data, b.from = scaled, nil
	}
	return []weight{w, b}, nil
}
