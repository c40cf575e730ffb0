package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// globalPool takes the mean or the largest over all pixels.
func globalPool(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if len(a.axes) < 3 || !a.is(0, batch) {
		return nil, fmt.Errorf("its input of %v is no image [N,C,H,W] of the net's", a.shape())
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	var over []int
	for i := 2; i < len(a.axes); i++ {
		over = append(over, i)
	}
	op := "mean"
	if n.Op == "GlobalMaxPool" {
		op = "max"
	}
	return t.reduce(n, a, op, over, true)
}

func reduceAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil {
		return nil, err
	}
	over, given, err := axesOf(n, []*array{nil, c[0]}, len(a.axes))
	if err != nil {
		return nil, err
	}
	if !given || len(over) == 0 {
		if n.Int("noop_with_empty_axes", 0) != 0 {
			return []value{{a: a}}, nil
		}
		over = nil
		for i := range a.axes {
			over = append(over, i)
		}
	}
	op := map[string]string{"ReduceMean": "mean", "ReduceMax": "max", "ReduceSum": "sum"}[n.Op]
	return t.reduce(n, a, op, over, n.Int("keepdims", 1) != 0)
}

// reduce takes the mean, the sum or the largest over some axes, which must be the
// height, the width, or both.
func (t *translator) reduce(n *onnxread.Node, a *act, op string, over []int, keep bool) ([]value, error) {
	var gone axis
	axes := a.axes[:0:0]
	for i, x := range a.axes {
		switch {
		case !slices.Contains(over, i):
			axes = append(axes, x)
		default:
			gone = append(gone, x...)
			if keep {
				axes = append(axes, nil)
			}
		}
	}
	b := *a
	b.axes = axes
	sizes := map[dim]int{}
	for _, p := range gone {
		if p.dim != row && p.dim != column {
			return nil, fmt.Errorf("it reduces axes %v of %v, which are not the height and the width alone", over, a.shape())
		}
		sizes[p.dim] = max(sizes[p.dim], 1) * p.size
	}
	for d, size := range sizes {
		if size != a.size(d) {
			return nil, fmt.Errorf("it reduces a part of the height or the width")
		}
	}
	// A pool over a single pixel is kept: for larger images it is one.
	if len(gone) == 0 && (a.flat || len(over) < 2 || a.h*a.w > 1) {
		return []value{{a: &b}}, nil
	}
	if sizes[row] != 0 {
		b.h = 1
	}
	if sizes[column] != 0 {
		b.w = 1
	}
	kind, set := "AdaptiveAvgPool2d", map[string]any{"keep_dims": true}
	if op == "max" {
		kind = "AdaptiveMaxPool2d"
	}
	if b.h > 1 || b.w > 1 {
		kind, set = "AvgPool2d", map[string]any{"kernel_size": pair([2]int{a.h / b.h, a.w / b.w})}
		if op == "max" {
			kind = "MaxPool2d"
		}
	}
	b.from = t.emit(n, &b, kind, set, nil, a.from)
	if op != "sum" {
		return []value{{a: &b}}, nil
	}
	return t.scaled(n, &b, filled(1, float32(gone.size())), nil), nil
}
