package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// padAct pads height and width.
func padAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 3)
	if err != nil {
		return nil, err
	}
	pads, fill := n.Ints("pads"), float64(n.Float("value", 0))
	if c[0] != nil {
		pads = c[0].list()
	}
	if c[1] != nil && c[1].len() == 1 {
		fill = c[1].at(0)
	}
	p, err := a.around(pads, c[2])
	if err != nil {
		return nil, err
	}
	if p == [4]int{} {
		return []value{{a: a}}, nil
	}
	set, kind := map[string]any{"padding": p[:]}, ""
	switch mode := n.Text("mode", "constant"); mode {
	case "constant":
		kind = "ConstantPad2d"
		set["value"] = decimal(float32(fill))
	case "reflect":
		kind = "ReflectionPad2d"
	case "edge":
		kind = "ReplicationPad2d"
	default:
		return nil, fmt.Errorf("it pads by the mode %q", mode)
	}
	b := *a
	b.h, b.w = a.h+p[2]+p[3], a.w+p[0]+p[1]
	b.axes = slices.Clone(a.axes)
	for i := range b.axes {
		switch {
		case a.is(i, row) && a.h > 1:
			b.axes[i] = whole(row, b.h)
		case a.is(i, column) && a.w > 1:
			b.axes[i] = whole(column, b.w)
		}
	}
	b.from = t.emit(n, &b, kind, set, nil, a.from)
	return []value{{a: &b}}, nil
}

// around returns the pads [left, right, top, bottom] of an image out of those of
// all axes, or of the given ones: first those before each, then those behind.
func (a *act) around(pads []int, of *array) (p [4]int, err error) {
	rank := len(a.axes)
	var axes []int
	if of != nil {
		for _, x := range of.list() {
			if x, err = axisOf(x, rank); err != nil {
				return p, err
			}
			axes = append(axes, x)
		}
	} else {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	if len(pads) != 2*len(axes) {
		return p, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	for i, x := range axes {
		low, high := pads[i], pads[len(axes)+i]
		switch {
		case low == 0 && high == 0:
		case low < 0 || high < 0 || low > 1<<14 || high > 1<<14:
			return p, fmt.Errorf("pads of %v", pads)
		case a.is(x, column) && a.w > 1:
			p[0], p[1] = low, high
		case a.is(x, row) && a.h > 1:
			p[2], p[3] = low, high
		default:
			return p, fmt.Errorf("it pads an axis that is not the height or the width")
		}
	}
	return p, nil
}
