package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

func foldExpand(f *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	to, err := checkedShape(in[1].list())
	if err != nil {
		return nil, err
	}
	shape, ok := broadcast(in[0].shape, to)
	if !ok {
		return nil, fmt.Errorf("a constant of %v does not expand to %v", in[0].shape, to)
	}
	if shape, err = checkedShape(shape); err != nil {
		return nil, err
	}
	return f.expand(in[0], shape)
}

func foldTile(f *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	a, times := in[0], in[1].list()
	if len(times) != len(a.shape) {
		return nil, fmt.Errorf("%d repeats for %d axes", len(times), len(a.shape))
	}
	for axis, n := range times {
		if n < 1 || n > maxFolded {
			return nil, fmt.Errorf("%d repeats", n)
		}
		shape, stride := make([]int, 0, len(a.shape)+1), make([]int, 0, len(a.shape)+1)
		for i, s := range strides(a.shape) {
			if i == axis {
				shape, stride = append(shape, n), append(stride, 0)
			}
			shape, stride = append(shape, a.shape[i]), append(stride, s)
		}
		if _, err := checkedShape(shape); err != nil {
			return nil, err
		}
		b, err := f.pick(a, shape, stride, 0)
		if err != nil {
			return nil, err
		}
		whole := slices.Clone(a.shape)
		whole[axis] *= n
		a = b.view(whole)
	}
	return a, nil
}

func foldWhere(f *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 3); err != nil {
		return nil, err
	}
	shape, ok := broadcast(in[1].shape, in[2].shape)
	if ok {
		shape, ok = broadcast(shape, in[0].shape)
	}
	if !ok {
		return nil, fmt.Errorf("constants whose shapes do not fit each other")
	}
	three := make([]*array, 3)
	for i := range three {
		var err error
		if three[i], err = f.expand(in[i], shape); err != nil {
			return nil, err
		}
	}
	n := volume(shape)
	if err := f.take(n); err != nil {
		return nil, err
	}
	out := &array{shape: shape, ints: in[1].ints && in[2].ints}
	for k := range n {
		from := three[1]
		if three[0].at(k) == 0 {
			from = three[2]
		}
		if out.ints {
			out.i = append(out.i, int64(from.int(k)))
		} else {
			out.f = append(out.f, float32(from.at(k)))
		}
	}
	return out, nil
}

func foldReduceProd(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	axes, given, err := axesOf(n, in, len(in[0].shape))
	if err != nil || given && len(axes) != len(in[0].shape) || !in[0].ints || in[0].len() > 64 {
		return nil, fmt.Errorf("only the product of all elements of a shape is folded")
	}
	p := int64(1)
	for k := range in[0].len() {
		p *= int64(in[0].int(k))
	}
	shape := []int{}
	if n.Int("keepdims", 1) != 0 {
		for range in[0].shape {
			shape = append(shape, 1)
		}
	}
	return intArray(shape, p), nil
}

func foldClip(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	low, high, err := clipBounds(n, in)
	if err != nil {
		return nil, err
	}
	return f.unary(in[0], func(v float64) float64 { return min(max(v, low), high) })
}

// foldDequantize decodes the codes of a constant: y = (x-zero)·scale, with one
// scale for all, or one for each element of an axis or for each block along it.
func foldDequantize(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	var zero *array
	if len(in) > 2 {
		zero = in[2]
	}
	if !in[0].ints {
		return nil, fmt.Errorf("its codes are floats")
	}
	if block := n.Int("block_size", 0); block != 0 {
		return f.dequantizedBlocks(in[0], in[1], zero, n.Int("axis", 1), block)
	}
	return f.dequantized(in[0], in[1], zero, n.Int("axis", 1))
}

// dequantized decodes the codes x; zero may be nil.
func (f *folder) dequantized(x, scale, zero *array, axis int) (*array, error) {
	each, count := 1, scale.len() // elements of one scale that follow each other; scales
	if len(scale.shape) == 1 && count > 1 {
		var err error
		if axis, err = axisOf(axis, len(x.shape)); err != nil {
			return nil, err
		}
		if x.shape[axis] != count {
			return nil, fmt.Errorf("%d scales for an axis of %d", count, x.shape[axis])
		}
		each = volume(x.shape[axis+1:])
	}
	if count == 0 || len(scale.shape) > 1 || zero != nil && zero.len() != count {
		return nil, fmt.Errorf("scales of the shape %v", scale.shape)
	}
	if err := f.take(x.len()); err != nil {
		return nil, err
	}
	out := &array{name: x.name, shape: x.shape, f: make([]float32, x.len())}
	if t := codeTypes[x.dtype]; t.bits > 0 {
		if k, err := codingOf(scale, zero, axis); err == nil {
			k.signed, k.bits = t.signed, t.bits
			out.coding = k.centered()
		}
	}
	for k := range out.f {
		c := k / max(each, 1) % count
		v := x.int(k)
		if zero != nil {
			v -= zero.int(c)
		}
		out.f[k] = float32(v) * float32(scale.at(c))
	}
	return out, nil
}

// dequantizedBlocks decodes the codes x, of which as many as a block has share a scale
// along the axis; zero may be nil.
func (f *folder) dequantizedBlocks(x, scale, zero *array, axis, block int) (*array, error) {
	axis, err := axisOf(axis, len(x.shape))
	if err != nil {
		return nil, err
	}
	want := slices.Clone(x.shape)
	if block > 0 {
		want[axis] = (want[axis] + block - 1) / block
	}
	if block < 1 || !slices.Equal(scale.shape, want) || zero != nil && zero.len() != scale.len() {
		return nil, fmt.Errorf("scales of the shape %v for codes of the shape %v in blocks of %d", scale.shape, x.shape, block)
	}
	if err := f.take(x.len()); err != nil {
		return nil, err
	}
	out := &array{name: x.name, shape: x.shape, f: make([]float32, x.len())}
	each := volume(x.shape[axis+1:])
	for k := range out.f {
		at := (k/each/x.shape[axis]*want[axis]+k/each%x.shape[axis]/block)*each + k%each
		v := x.int(k)
		if zero != nil {
			v -= zero.int(at)
		}
		out.f[k] = float32(v) * float32(scale.at(at))
	}
	return out, nil
}

// splits returns the sizes of the parts that Split makes of an axis of d.
func splits(n *onnxread.Node, in []*array, d int) ([]int, error) {
	sizes := n.Ints("split")
	if len(in) > 1 && in[1] != nil {
		sizes = in[1].list()
	}
	parts := len(n.Out)
	if sizes == nil {
		if k := n.Int("num_outputs", parts); k != parts || parts == 0 {
			return nil, fmt.Errorf("%d parts for %d outputs", k, parts)
		}
		each := (d + parts - 1) / parts
		for left := d; len(sizes) < parts; left -= each {
			sizes = append(sizes, max(0, min(each, left)))
		}
	}
	total := 0
	for _, s := range sizes {
		if s < 0 || s > d {
			return nil, fmt.Errorf("parts of %v of an axis of %d", sizes, d)
		}
		total += s
	}
	if total != d || len(sizes) != parts {
		return nil, fmt.Errorf("parts of %v of an axis of %d", sizes, d)
	}
	return sizes, nil
}

func (f *folder) foldSplit(n *onnxread.Node, in []*array) ([]*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	a := in[0]
	axis, err := axisOf(n.Int("axis", 0), len(a.shape))
	if err != nil {
		return nil, err
	}
	sizes, err := splits(n, in, a.shape[axis])
	if err != nil {
		return nil, err
	}
	var out []*array
	start := 0
	for _, s := range sizes {
		shape := slices.Clone(a.shape)
		shape[axis] = s
		b, err := f.pick(a, shape, strides(a.shape), start*strides(a.shape)[axis])
		if err != nil {
			return nil, err
		}
		out = append(out, b)
		start += s
	}
	return out, nil
}
