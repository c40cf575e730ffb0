package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// shapeOperators change what axes a tensor has, and nothing of its values.
var shapeOperators = map[string]operator{
	"Identity": ofImage(passed), "Cast": ofImage(castAct), "CastLike": ofImage(passed), "Shape": shapeAct, "Size": shapeAct,
	"Reshape": ofImage(reshapeAct), "Flatten": ofImage(flattenAct), "Squeeze": ofImage(squeezeAct), "Unsqueeze": ofImage(unsqueezeAct),
	"Transpose": ofImage(transposeAct), "Expand": ofImage(expandAct), "Tile": ofImage(expandAct), "Slice": ofImage(sliceAct), "Split": splitAct,
	"Gather": ofImage(gatherAct), "Concat": concatAct, "Dropout": ofImage(dropoutAct),
}

// A call is a node whose first input depends on the image.
type call struct {
	*translator
	n  *onnxread.Node
	a  *act    // the first input
	in []value // all of them
}

// ofImage makes an operator of a function that takes the first input, which depends on
// the image, to the only output.
func ofImage(f func(c call) (*act, error)) operator {
	return func(t *translator, n *onnxread.Node, in []value) ([]value, error) {
		a, err := first(in)
		if err != nil {
			return nil, err
		}
		if a, err = f(call{t, n, a, in}); err != nil {
			return nil, err
		}
		return []value{{a: a}}, nil
	}
}

// second is the second input, which must be constant; nil if it is left out.
func (c call) second() (*array, error) {
	list, err := constants(c.in, 1, 1)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// shape is the second input as a shape.
func (c call) shape() ([]int, error) {
	to, err := c.second()
	switch {
	case err != nil || to == nil:
		return nil, fmt.Errorf("the new shape is not constant")
	case to.len() > 64:
		return nil, fmt.Errorf("%d axes", to.len())
	}
	return to.list(), nil
}

func passed(c call) (*act, error) { return c.a, nil }

// castAct takes casts between floats: everything is float32 here.
func castAct(c call) (*act, error) {
	switch c.n.Int("to", 0) {
	case 1, 10, 11, 16:
		return c.a, nil
	}
	return nil, fmt.Errorf("what is computed of the image is made integers")
}

// shapeAct is Shape and Size: constants.
func shapeAct(_ *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if n.Op == "Size" {
		return []value{{c: intArray([]int{}, int64(volume(a.shape())))}}, nil
	}
	return []value{{c: shapeOf(n, a.shape())}}, nil
}

func (c call) regrouped(shape []int) (*act, error) {
	if slices.Equal(shape, c.a.shape()) {
		return c.a, nil
	}
	axes, err := regroup(atoms(c.a.axes), shape)
	if err != nil {
		return nil, fmt.Errorf("it makes %v of %v: %w", shape, c.a.shape(), err)
	}
	return c.a.with(axes), nil
}

func reshapeAct(c call) (*act, error) {
	shape, err := c.shape()
	if err != nil {
		return nil, err
	}
	if shape, err = reshaped(c.n, c.a.shape(), shape); err != nil {
		return nil, err
	}
	return c.regrouped(shape)
}

func flattenAct(c call) (*act, error) {
	shape, err := flattened(c.n, c.a.shape())
	if err != nil {
		return nil, err
	}
	return c.regrouped(shape)
}

// picked is the first input with these of its axes, a new axis of 1 for -1.
func (c call) picked(from []int) *act {
	axes := make([]axis, len(from))
	for i, k := range from {
		if k >= 0 {
			axes[i] = c.a.axes[k]
		}
	}
	return c.a.with(axes)
}

func squeezeAct(c call) (*act, error) {
	axes, err := c.second()
	if err != nil {
		return nil, err
	}
	kept, err := squeezed(c.n, []*array{nil, axes}, c.a.shape())
	if err != nil {
		return nil, err
	}
	return c.picked(kept), nil
}

func unsqueezeAct(c call) (*act, error) {
	axes, err := c.second()
	if err != nil {
		return nil, err
	}
	from, err := unsqueezed(c.n, []*array{nil, axes}, len(c.a.axes))
	if err != nil {
		return nil, err
	}
	return c.picked(from), nil
}

func transposeAct(c call) (*act, error) {
	perm, err := permOf(c.n, len(c.a.axes))
	if err != nil {
		return nil, err
	}
	return c.picked(perm), nil
}

// expandAct takes what repeats nothing.
func expandAct(c call) (*act, error) {
	want, err := c.shape()
	if err != nil {
		return nil, err
	}
	if c.n.Op == "Tile" && !slices.ContainsFunc(want, func(r int) bool { return r != 1 }) {
		return c.a, nil
	}
	if shape, ok := broadcast(c.a.shape(), want); c.n.Op == "Expand" && ok && volume(shape) == volume(c.a.shape()) {
		return c.regrouped(shape)
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

func sliceAct(c call) (*act, error) {
	given, err := constants(c.in, 1, 4)
	if err != nil {
		return nil, err
	}
	var params []*array
	if len(c.in) > 1 {
		params = append([]*array{nil}, given...)
	}
	list, err := cuts(c.n, params, c.a.shape())
	if err != nil {
		return nil, err
	}
	a := c.a
	for _, part := range list {
		if part.step == 1 || part.size() == 1 {
			a, err = c.slice(c.n, a, part.axis, part.start, part.size())
		} else {
			var at []int
			for k := range min(part.size(), 1<<14) {
				at = append(at, part.start+k*part.step)
			}
			a, err = c.pick(c.n, a, part.axis, at)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
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
func gatherAct(c call) (*act, error) {
	list, err := c.second()
	if err != nil || list == nil || list.len() == 0 || list.len() > 1<<14 {
		return nil, fmt.Errorf("what it picks is not a constant list")
	}
	i, err := axisOf(c.n.Int("axis", 0), len(c.a.axes))
	if err != nil {
		return nil, err
	}
	d := c.a.axes[i].size()
	at := list.list()
	for k := range at {
		if at[k] < 0 {
			at[k] += d
		}
		if at[k] < 0 || at[k] >= d {
			return nil, fmt.Errorf("element %d of an axis of %d", list.int(k), d)
		}
	}
	a, err := c.pick(c.n, c.a, i, at)
	if err != nil {
		return nil, err
	}
	parts, err := regroup(a.axes[i], list.shape)
	if err != nil {
		return nil, err
	}
	return a.with(slices.Concat(a.axes[:i], parts, a.axes[i+1:])), nil
}

func dropoutAct(c call) (*act, error) {
	given, err := constants(c.in, 1, 2)
	if err != nil {
		return nil, err
	}
	p := float64(c.n.Float("ratio", 0.5))
	if x := given[0]; x != nil && x.len() == 1 {
		p = x.at(0)
	}
	if x := given[1]; x != nil && x.len() == 1 && x.at(0) != 0 {
		return nil, fmt.Errorf("it is in training mode; export the model in evaluation mode")
	}
	if !(p > 0 && p < 1) {
		return c.a, nil
	}
	return c.pointwise(c.n, c.a, "Dropout", map[string]any{"p": decimal(float32(p))})[0].a, nil
}
