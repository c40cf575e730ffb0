package onnxnet

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

func foldShape(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	return shapeOf(n, in[0].shape), nil
}

// shapeOf is what Shape makes of a shape, from its start up to its end.
func shapeOf(n *onnxread.Node, shape []int) *array {
	r := len(shape)
	at := func(v int) int {
		if v < 0 {
			v += r
		}
		return min(max(v, 0), r)
	}
	start, end := at(n.Int("start", 0)), at(n.Int("end", r))
	return vectorOf(shape[start:max(start, end)])
}

func foldSize(_ *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	return intArray([]int{}, int64(in[0].len())), nil
}

// axisOf returns an axis counted from the front.
func axisOf(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d of a tensor with %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

func foldGather(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	a, at := in[0], in[1]
	axis, err := axisOf(n.Int("axis", 0), len(a.shape))
	if err != nil {
		return nil, err
	}
	shape := slices.Concat(a.shape[:axis], at.shape, a.shape[axis+1:])
	if shape, err = checkedShape(shape); err != nil {
		return nil, err
	}
	if err := f.take(volume(shape)); err != nil {
		return nil, err
	}
	outer, inner := volume(a.shape[:axis]), volume(a.shape[axis+1:])
	out := empty(shape, a.ints)
	for o := range outer {
		for k := range at.len() {
			i := at.int(k)
			if i < 0 {
				i += a.shape[axis]
			}
			if i < 0 || i >= a.shape[axis] {
				return nil, fmt.Errorf("element %d of an axis of %d", at.int(k), a.shape[axis])
			}
			for e := range inner {
				from := (o*a.shape[axis]+i)*inner + e
				if a.ints {
					out.i = append(out.i, int64(a.int(from)))
				} else {
					out.f = append(out.f, float32(a.at(from)))
				}
			}
		}
	}
	return out, nil
}

// A cut is a slice of one axis.
type cut struct{ axis, start, end, step int }

// size returns how many elements the cut leaves.
func (c cut) size() int {
	if c.step > 0 {
		return max(0, (c.end-c.start+c.step-1)/c.step)
	}
	return max(0, (c.start-c.end-c.step-1)/-c.step)
}

// cuts returns what a Slice takes of a tensor of the given shape. Parameters are
// attributes before operator set 10, inputs from there on.
func cuts(n *onnxread.Node, in []*array, shape []int) ([]cut, error) {
	starts, ends, axes := n.Ints("starts"), n.Ints("ends"), n.Ints("axes")
	var steps []int
	if len(in) > 2 {
		get := func(i int) []int {
			if i < len(in) && in[i] != nil {
				return in[i].list()
			}
			return nil
		}
		starts, ends, axes, steps = get(1), get(2), get(3), get(4)
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, fmt.Errorf("its starts, ends and axes differ in number")
	}
	out := make([]cut, len(starts))
	for i := range starts {
		axis, err := axisOf(axes[i], len(shape))
		if err != nil {
			return nil, err
		}
		c := cut{axis: axis, step: 1}
		if steps != nil {
			c.step = steps[i]
		}
		if c.step == 0 || c.step == math.MinInt {
			return nil, fmt.Errorf("a step of %d", c.step)
		}
		d := shape[axis]
		low, high := 0, d
		if c.step < 0 {
			low, high = -1, d-1
		}
		at := func(v int) int {
			if v < 0 {
				v = max(v, -d-1) + d
			}
			return min(max(v, low), high)
		}
		c.start, c.end = at(starts[i]), at(ends[i])
		out[i] = c
	}
	return out, nil
}

func foldSlice(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	list, err := cuts(n, in, in[0].shape)
	if err != nil {
		return nil, err
	}
	shape, stride, offset := slices.Clone(in[0].shape), strides(in[0].shape), 0
	for _, c := range list {
		offset += c.start * stride[c.axis]
		stride[c.axis] *= c.step
		shape[c.axis] = c.size()
	}
	return f.pick(in[0], shape, stride, offset)
}

func foldConcat(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, len(in)); err != nil || len(in) == 0 {
		return nil, fmt.Errorf("it needs inputs")
	}
	axis, err := axisOf(n.Int("axis", 1), len(in[0].shape))
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(in[0].shape)
	for _, a := range in[1:] {
		if len(a.shape) != len(shape) || a.ints != in[0].ints {
			return nil, fmt.Errorf("constants of the shapes %v and %v do not fit each other", shape, a.shape)
		}
		for i := range shape {
			if i != axis && a.shape[i] != shape[i] {
				return nil, fmt.Errorf("constants of the shapes %v and %v do not fit each other", shape, a.shape)
			}
		}
		shape[axis] += a.shape[axis]
	}
	if shape, err = checkedShape(shape); err != nil {
		return nil, err
	}
	if err := f.take(volume(shape)); err != nil {
		return nil, err
	}
	out := empty(shape, in[0].ints)
	for o := range volume(shape[:axis]) {
		for _, a := range in {
			each := volume(a.shape[axis:])
			for e := o * each; e < (o+1)*each; e++ {
				if a.ints {
					out.i = append(out.i, int64(a.int(e)))
				} else {
					out.f = append(out.f, float32(a.at(e)))
				}
			}
		}
	}
	return out, nil
}

func foldRange(f *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 3); err != nil {
		return nil, err
	}
	for _, a := range in {
		if a.len() != 1 {
			return nil, fmt.Errorf("its ends are no single numbers")
		}
	}
	start, end, step := in[0].at(0), in[1].at(0), in[2].at(0)
	n := math.Ceil((end - start) / step)
	if !(n <= 1<<20) {
		return nil, fmt.Errorf("a range of %g numbers", n)
	}
	out := &array{ints: in[0].ints}
	for k := range max(int(n), 0) {
		v := start + float64(k)*step
		if out.ints {
			out.i = append(out.i, int64(v))
		} else {
			out.f = append(out.f, float32(v))
		}
	}
	out.shape = []int{max(int(n), 0)}
	return out, f.take(out.shape[0])
}

// reshaped returns the shape that Reshape makes: 0 stands for the size that is
// there (unless allowzero), -1 for what is left.
func reshaped(n *onnxread.Node, from, to []int) ([]int, error) {
	shape, open, product := slices.Clone(to), -1, 1
	for i, d := range shape {
		if d == 0 && n.Int("allowzero", 0) == 0 {
			if i >= len(from) {
				return nil, fmt.Errorf("a new shape %v for %v", to, from)
			}
			shape[i] = from[i]
		}
		switch {
		case d == -1 && open < 0:
			open = i
			continue
		case shape[i] < 0:
			return nil, fmt.Errorf("a new shape %v for %v", to, from)
		}
		if product *= shape[i]; product > onnxread.MaxElements {
			return nil, fmt.Errorf("a new shape %v for %v", to, from)
		}
	}
	all := volume(from)
	if open >= 0 {
		if product == 0 || all%product != 0 {
			return nil, fmt.Errorf("a new shape %v for %v", to, from)
		}
		shape[open] = all / product
		product = all
	}
	if product != all {
		return nil, fmt.Errorf("a new shape %v for %v", to, from)
	}
	return shape, nil
}

func foldReshape(_ *folder, n *onnxread.Node, opset int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	shape, err := reshaped(n, in[0].shape, in[1].list())
	if err != nil {
		return nil, err
	}
	return in[0].view(shape), nil
}

// flattened returns the two sizes that Flatten makes.
func flattened(n *onnxread.Node, shape []int) ([]int, error) {
	axis := n.Int("axis", 1)
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis > len(shape) {
		return nil, fmt.Errorf("axis %d of a tensor with %d", n.Int("axis", 1), len(shape))
	}
	return []int{volume(shape[:axis]), volume(shape[axis:])}, nil
}

func foldFlatten(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	shape, err := flattened(n, in[0].shape)
	if err != nil {
		return nil, err
	}
	return in[0].view(shape), nil
}
