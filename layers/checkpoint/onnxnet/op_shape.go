package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// shapeOperators change what axes a tensor has, and nothing of its values.
var shapeOperators = map[string]operator{
	"Identity": passed, "Cast": castAct, "CastLike": passed, "Shape": shapeAct, "Size": sizeAct, "Reshape": reshapeAct, "Flatten": flattenAct,
	"Squeeze": squeezeAct, "Unsqueeze": unsqueezeAct, "Transpose": transposeAct, "Expand": expandAct, "Tile": expandAct,
	"Slice": sliceAct, "Split": splitAct, "Gather": gatherAct, "Concat": concatAct, "Dropout": dropoutAct,
}

func passed(_ *translator, _ *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	return []value{{a: a}}, err
}

// castAct takes casts between floats: everything is float32 here.
func castAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	switch n.Int("to", 0) {
	case 1, 10, 11, 16:
		return []value{{a: a}}, err
	}
	return nil, fmt.Errorf("what is computed of the image is made integers")
}

func shapeAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	return []value{{c: shapeOf(n, a.shape())}}, nil
}

func sizeAct(_ *translator, _ *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	return []value{{c: intArray([]int{}, int64(volume(a.shape())))}}, nil
}

func regrouped(a *act, shape []int) ([]value, error) {
	if slices.Equal(shape, a.shape()) {
		return []value{{a: a}}, nil
	}
	axes, err := regroup(atoms(a.axes), shape)
	if err != nil {
		return nil, fmt.Errorf("it makes %v of %v: %w", shape, a.shape(), err)
	}
	return []value{{a: a.with(axes)}}, nil
}

func reshapeAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	to, err := constants(in, 1, 1)
	if err != nil || to[0] == nil {
		return nil, fmt.Errorf("the new shape is not constant")
	}
	shape, err := reshaped(n, a.shape(), to[0].list())
	if err != nil {
		return nil, err
	}
	return regrouped(a, shape)
}

func flattenAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	shape, err := flattened(n, a.shape())
	if err != nil {
		return nil, err
	}
	return regrouped(a, shape)
}

func squeezeAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil {
		return nil, err
	}
	kept, err := squeezed(n, []*array{nil, c[0]}, a.shape())
	if err != nil {
		return nil, err
	}
	var axes []axis
	for _, k := range kept {
		axes = append(axes, a.axes[k])
	}
	return []value{{a: a.with(axes)}}, nil
}

func unsqueezeAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil {
		return nil, err
	}
	from, err := unsqueezed(n, []*array{nil, c[0]}, len(a.axes))
	if err != nil {
		return nil, err
	}
	axes := make([]axis, len(from))
	for i, k := range from {
		if k >= 0 {
			axes[i] = a.axes[k]
		}
	}
	return []value{{a: a.with(axes)}}, nil
}

func transposeAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	perm, err := permOf(n, len(a.axes))
	if err != nil {
		return nil, err
	}
	axes := make([]axis, len(perm))
	for i, p := range perm {
		axes[i] = a.axes[p]
	}
	return []value{{a: a.with(axes)}}, nil
}

// expandAct takes what repeats nothing.
func expandAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	to, err := constants(in, 1, 1)
	if err != nil || to[0] == nil {
		return nil, fmt.Errorf("the new shape is not constant")
	}
	if to[0].len() > 64 {
		return nil, fmt.Errorf("%d axes", to[0].len())
	}
	want := to[0].list()
	if n.Op == "Tile" && !slices.ContainsFunc(want, func(r int) bool { return r != 1 }) {
		return []value{{a: a}}, nil
	}
	if shape, ok := broadcast(a.shape(), want); n.Op == "Expand" && ok && volume(shape) == volume(a.shape()) {
		return regrouped(a, shape)
	}
	return nil, fmt.Errorf("it repeats what is computed of the image")
}

// slice returns the part of an axis from start on, of so many elements.
func (t *translator) slice(n *onnxread.Node, a *act, i, start, size int) (*act, error) {
	if size == a.axes[i].size() {
		return a, nil
	}
	a, err := t.settled(n, a)
	if err != nil {
		return nil, err
	}
	x := a.axes[i]
	switch {
	case size < 1:
		return nil, fmt.Errorf("nothing is left of an axis")
	case !x.only(channel):
		return nil, fmt.Errorf("it cuts the image; only channels can be parted")
	case len(x) != 1 || x[0].stride*x[0].size != a.c:
		return nil, fmt.Errorf("it takes channels that do not follow each other")
	}
	step := x[0].stride
	b := *a
	b.axes, b.c = slices.Clone(a.axes), size*step
	b.axes[i] = merge(axis{{channel, step, size}})
	if size == 1 {
		b.axes[i] = nil
	}
	b.from = t.emit(n, &b, "Slice", map[string]any{"start": start * step, "end": (start + size) * step}, nil, a.from)
	return &b, nil
}

func sliceAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 4)
	if err != nil {
		return nil, err
	}
	var params []*array
	if len(in) > 1 {
		params = append([]*array{nil}, c...)
	}
	list, err := cuts(n, params, a.shape())
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.step == 1 || c.size() == 1 {
			a, err = t.slice(n, a, c.axis, c.start, c.size())
		} else {
			var at []int
			for k := range min(c.size(), 1<<14) {
				at = append(at, c.start+k*c.step)
			}
			a, err = t.pick(n, a, c.axis, at)
		}
		if err != nil {
			return nil, err
		}
	}
	return []value{{a: a}}, nil
}

func splitAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil {
		return nil, err
	}
	i, err := axisOf(n.Int("axis", 0), len(a.axes))
	if err != nil {
		return nil, err
	}
	sizes, err := splits(n, []*array{nil, c[0]}, a.axes[i].size())
	if err != nil {
		return nil, err
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	var out []value
	start := 0
	for _, s := range sizes {
		b, err := t.slice(n, a, i, start, s)
		if err != nil {
			return nil, err
		}
		out = append(out, value{a: b})
		start += s
	}
	return out, nil
}

// pick returns elements of an axis in any order: parts of channels that follow
// each other, joined.
func (t *translator) pick(n *onnxread.Node, a *act, i int, at []int) (*act, error) {
	a, err := t.settled(n, a)
	if err != nil {
		return nil, err
	}
	var parts []*act
	for k := 0; k < len(at); {
		end := k + 1
		for end < len(at) && at[end] == at[k]+end-k {
			end++
		}
		p, err := t.slice(n, a, i, at[k], end-k)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
		k = end
	}
	switch {
	case len(parts) == 1:
		return parts[0], nil
	case len(parts) == 0:
		return nil, fmt.Errorf("nothing is left of an axis")
	case len(parts) > 256:
		return nil, fmt.Errorf("it picks %d parts of an axis", len(parts))
	}
	step := a.c / a.axes[i].size() // channels of one element, which slice has checked
	out := *a
	out.c = len(at) * step
	out.axes = slices.Clone(a.axes)
	out.axes[i] = merge(axis{{channel, step, len(at)}})
	var from []*mod
	for _, p := range parts {
		from = append(from, p.from)
	}
	out.from = t.emit(n, &out, "Concat", nil, nil, from...)
	return &out, nil
}

// gatherAct takes elements of an axis.
func gatherAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil || c[0] == nil || c[0].len() == 0 || c[0].len() > 1<<14 {
		return nil, fmt.Errorf("what it picks is not a constant list")
	}
	i, err := axisOf(n.Int("axis", 0), len(a.axes))
	if err != nil {
		return nil, err
	}
	d := a.axes[i].size()
	at := c[0].list()
	for k := range at {
		if at[k] < 0 {
			at[k] += d
		}
		if at[k] < 0 || at[k] >= d {
			return nil, fmt.Errorf("element %d of an axis of %d", c[0].int(k), d)
		}
	}
	if a, err = t.pick(n, a, i, at); err != nil {
		return nil, err
	}
	parts, err := regroup(a.axes[i], c[0].shape)
	if err != nil {
		return nil, err
	}
	return []value{{a: a.with(slices.Concat(a.axes[:i], parts, a.axes[i+1:]))}}, nil
}

func dropoutAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil {
		return nil, err
	}
	p := float64(n.Float("ratio", 0.5))
	if c[0] != nil && c[0].len() == 1 {
		p = c[0].at(0)
	}
	if c[1] != nil && c[1].len() == 1 && c[1].at(0) != 0 {
		return nil, fmt.Errorf("it is in training mode; export the model in evaluation mode")
	}
	if !(p > 0 && p < 1) {
		return []value{{a: a}}, nil
	}
	return t.pointwise(n, a, "Dropout", map[string]any{"p": decimal(float32(p))}), nil
}
