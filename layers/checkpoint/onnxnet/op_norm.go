package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// normOperators normalize.
var normOperators = map[string]operator{
	"BatchNormalization": batchNorm, "InstanceNormalization": instanceNorm, "GroupNormalization": groupNorm, "LayerNormalization": layerNorm,
	opNorm: plainNorm, "LRN": localNorm, "Softmax": softmax, "LogSoftmax": softmax,
}

// lone reports an operator whose further outputs are used.
func lone(n *onnxread.Node) error {
	for _, out := range n.Out[min(1, len(n.Out)):] {
		if out != "" {
			return fmt.Errorf("it has outputs beside the first; only that is taken")
		}
	}
	return nil
}

func batchNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if n.Int("training_mode", 0) != 0 {
		return nil, fmt.Errorf("it is in training mode; export the model in evaluation mode")
	}
	if t.opset < 9 && n.Int("spatial", 1) == 0 {
		return nil, fmt.Errorf("it normalizes each pixel by itself")
	}
	c, err := constants(in, 1, 4)
	if err != nil || slices.Contains(c, nil) {
		return nil, fmt.Errorf("its statistics are not constant")
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	if len(a.axes) < 2 || !a.is(1, channel) {
		return nil, fmt.Errorf("its input of %v has no channels on axis 1", a.shape())
	}
	var data []weight
	for i, role := range []string{"weight", "bias", "running_mean", "running_var"} {
		w, err := t.tensor(role, c[i], a.c)
		if err != nil {
			return nil, err
		}
		data = append(data, w)
	}
	eps := n.Float(epsilon, 1e-5)
	if a.flat {
		scale, shift := make([]float32, a.c), make([]float32, a.c)
		for k := range scale {
			scale[k], shift[k] = normalizer(data, k, float64(eps))
		}
		return t.scaled(n, a, scale, shift), nil
	}
	set := map[string]any{"num_features": a.c, "eps": decimal(eps), "momentum": decimal(1 - n.Float("momentum", 0.9))}
	return t.pointwise(n, a, "BatchNorm2d", set, data...), nil
}

// groupParts finds the groups of channels that an InstanceNormalization of
// [N,groups,…] normalizes: 0 where there are none.
func groupParts(a *act) int {
	if len(a.axes) < 3 || !a.is(0, batch) || len(a.axes[1]) != 1 {
		return 0
	}
	g := a.axes[1][0]
	if g.dim != channel || g.stride*g.size != a.c {
		return 0
	}
	rest := axis{}
	for _, x := range a.axes[2:] {
		rest = append(rest, x...)
	}
	want := slices.Concat(axis{{channel, 1, g.stride}}, whole(row, a.h), whole(column, a.w))
	if !slices.Equal(merge(rest), merge(want)) {
		return 0
	}
	return g.size
}

func instanceNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil || slices.Contains(c, nil) {
		return nil, fmt.Errorf("its scale and bias are not constant")
	}
	eps := decimal(n.Float(epsilon, 1e-5))
	groups := groupParts(a)
	if groups > 0 && groups < a.c || a.c == 1 && a.flat {
		each := a.c / groups
		var data []weight
		for i, role := range []string{"weight", "bias"} {
			w, err := t.tensor(role, c[i], groups)
			if err != nil {
				return nil, err
			}
			wide := make([]float32, a.c)
			for k := range wide {
				wide[k] = w.data[k/each]
			}
			data = append(data, weight{role: role, shape: []int{a.c}, data: wide})
		}
		return t.pointwise(n, a, "GroupNorm", map[string]any{"num_groups": groups, "num_channels": a.c, "eps": eps}, data...), nil
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	if len(a.axes) < 3 || !a.is(0, batch) || !a.is(1, channel) || a.flat {
		return nil, fmt.Errorf("its input of %v is no image [N,C,H,W] of the net's", a.shape())
	}
	var data []weight
	for i, role := range []string{"weight", "bias"} {
		w, err := t.tensor(role, c[i], a.c)
		if err != nil {
			return nil, err
		}
		data = append(data, w)
	}
	return t.pointwise(n, a, "InstanceNorm2d", map[string]any{"num_features": a.c, "eps": eps, "affine": true}, data...), nil
}

func groupNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil || slices.Contains(c, nil) {
		return nil, fmt.Errorf("its scale and bias are not constant")
	}
	if a, err = t.image(n, a); err != nil {
		return nil, err
	}
	groups := n.Int("num_groups", 1)
	if groups < 1 || a.c%groups != 0 {
		return nil, fmt.Errorf("%d channels in %d groups", a.c, groups)
	}
	var data []weight
	for i, role := range []string{"weight", "bias"} {
		size := a.c
		if c[i].len() == groups && t.opset < 21 {
			size = groups // operator set 18 has one a group
		}
		w, err := t.tensor(role, c[i], size)
		if err != nil {
			return nil, err
		}
		if size != a.c {
			wide := make([]float32, a.c)
			for k := range wide {
				wide[k] = w.data[k/(a.c/groups)]
			}
			w = weight{role: role, shape: []int{a.c}, data: wide}
		}
		data = append(data, w)
	}
	return t.pointwise(n, a, "GroupNorm", map[string]any{"num_groups": groups, "num_channels": a.c, "eps": decimal(n.Float(epsilon, 1e-5))}, data...), nil
}

// unit returns a scale of one and a shift of nothing.
func unit(channels int) []weight {
	return []weight{
		{role: "weight", shape: []int{channels}, data: filled(channels, 1)},
		{role: "bias", shape: []int{channels}, data: make([]float32, channels)},
	}
}

// overChannels reports whether the axes that are normalized are the channels.
func overChannels(a *act, axes []int) bool {
	var all axis
	for _, i := range axes {
		all = append(all, a.axes[i]...)
	}
	return slices.Equal(merge(all), whole(channel, a.c))
}

func layerNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if err := lone(n); err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(n.Int("axis", -1), len(a.axes))
	if err != nil {
		return nil, err
	}
	var axes []int
	for i := axis; i < len(a.axes); i++ {
		axes = append(axes, i)
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	if !overChannels(a, axes) {
		return nil, fmt.Errorf("it normalizes over axes %v of %v, which are not the channels alone", axes, a.shape())
	}
	data := unit(a.c)
	for i, role := range []string{"weight", "bias"} {
		if c[i] == nil {
			continue
		}
		if data[i], err = t.channelVector(role, a, c[i]); err != nil {
			return nil, err
		}
	}
	return t.pointwise(n, a, "LayerNorm2d", map[string]any{"num_channels": a.c, "eps": decimal(n.Float(epsilon, 1e-5))}, data...), nil
}

// plainNorm is a normalization that was written out. Scale and shift follow it.
func plainNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	axes, _, err := axesOf(n, nil, len(a.axes))
	if err != nil {
		return nil, err
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	eps := decimal(n.Float(epsilon, 0))
	if overChannels(a, axes) {
		return t.pointwise(n, a, "LayerNorm2d", map[string]any{"num_channels": a.c, "eps": eps}, unit(a.c)...), nil
	}
	var over axis
	for _, i := range axes {
		over = append(over, a.axes[i]...)
	}
	if !a.flat && slices.Equal(merge(over), merge(slices.Concat(whole(row, a.h), whole(column, a.w)))) {
		return t.pointwise(n, a, "InstanceNorm2d", map[string]any{"num_features": a.c, "eps": eps, "affine": true}, unit(a.c)...), nil
	}
	return nil, fmt.Errorf("it normalizes over axes %v of %v, which are neither the channels nor the pixels", axes, a.shape())
}

func localNorm(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if a, err = t.image(n, a); err != nil {
		return nil, err
	}
	return t.pointwise(n, a, "LocalResponseNorm", map[string]any{
		"size": n.Int("size", 1), "alpha": decimal(n.Float("alpha", 1e-4)), "beta": decimal(n.Float("beta", 0.75)), "k": decimal(n.Float("bias", 1)),
	}), nil
}

// softmax is over one axis; before operator set 13 over all axes from the given one on.
func softmax(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	otherwise := -1
	if t.opset < 13 {
		otherwise = 1
	}
	axis, err := axisOf(n.Int("axis", otherwise), len(a.axes))
	if err != nil {
		return nil, err
	}
	axes := []int{axis}
	if t.opset < 13 {
		for i := axis + 1; i < len(a.axes); i++ {
			axes = append(axes, i)
		}
	}
	if !overChannels(a, axes) {
		return nil, fmt.Errorf("it is over axes %v of %v, which are not the channels alone", axes, a.shape())
	}
	return t.pointwise(n, a, n.Op, nil), nil
}
