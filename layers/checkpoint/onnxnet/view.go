package onnxnet

import (
	"fmt"
	"slices"
)

// An atom is a part of a dimension of a value: digits of its index, so to speak.
// Index k along the atom stands for k·stride in the dimension. The whole of a
// dimension of n is the atom of stride 1 and size n.
type atom struct {
	dim          dim
	stride, size int
}

// A dim is a dimension of a value of a net.
type dim byte

// The dimensions. A flat value has batch and channel only.
const (
	batch   dim = 'N'
	channel dim = 'C'
	row     dim = 'H'
	column  dim = 'W'
)

// An axis of a tensor of ONNX is a list of atoms, the first the most
// significant: an image flattened in PyTorch's order has the axis C, H, W. An
// axis of size 1 has no atoms.
type axis []atom

func (x axis) size() int {
	n := 1
	for _, a := range x {
		n *= a.size
	}
	return n
}

// An act is a tensor of ONNX that depends on the image: the output of a module of
// the net, and how the tensor's axes lie in it. Transposes and reshapes change
// axes alone, so that they cost nothing and leave nothing in the net.
type act struct {
	from *mod // the module, nil for the image
	// The sizes of the module's output: [n,h,w,c], or [n,c] where it is flat.
	n, h, w, c int
	flat       bool
	axes       []axis
	// coded is set where the tensor is one of codes, which the numbers stand for.
	coded *coding
}

// shape returns the tensor's shape in ONNX.
func (a *act) shape() []int {
	s := make([]int, len(a.axes))
	for i, x := range a.axes {
		s[i] = x.size()
	}
	return s
}

// with returns the tensor with other axes.
func (a *act) with(axes []axis) *act {
	b := *a
	b.axes = axes
	return &b
}

// whole returns the axis that is all of a dimension.
func whole(d dim, size int) axis {
	if size == 1 {
		return nil
	}
	return axis{{d, 1, size}}
}

// size returns the size of a dimension.
func (a *act) size(d dim) int {
	switch d {
	case batch:
		return a.n
	case row:
		return a.h
	case column:
		return a.w
	}
	return a.c
}

// merge joins atoms that follow each other in a dimension.
func merge(x axis) axis {
	var out axis
	for _, a := range x {
		if a.size == 1 {
			continue
		}
		if n := len(out); n > 0 && out[n-1].dim == a.dim && out[n-1].stride == a.stride*a.size {
			out[n-1] = atom{a.dim, a.stride, out[n-1].size * a.size}
			continue
		}
		out = append(out, a)
	}
	return out
}

// atoms returns all atoms of the axes in a row.
func atoms(axes []axis) axis {
	var all axis
	for _, x := range axes {
		all = append(all, x...)
	}
	return merge(all)
}

// regroup returns axes of the given sizes over the same atoms in a row: what
// Reshape does. An atom that a new axis ends within is parted.
func regroup(all axis, sizes []int) ([]axis, error) {
	out := make([]axis, len(sizes))
	rest := slices.Clone(all)
	for i, want := range sizes {
		for want > 1 {
			if len(rest) == 0 {
				return nil, fmt.Errorf("sizes %v do not fit", sizes)
			}
			a := rest[0]
			switch {
			case want%a.size == 0:
				out[i] = append(out[i], a)
				want /= a.size
				rest = rest[1:]
			case a.size%want == 0:
				low := a.size / want
				out[i] = append(out[i], atom{a.dim, a.stride * low, want})
				rest[0] = atom{a.dim, a.stride, low}
				want = 1
			default:
				return nil, fmt.Errorf("sizes %v do not fit", sizes)
			}
		}
		out[i] = merge(out[i])
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("sizes %v do not fit", sizes)
	}
	return out, nil
}

// is reports whether an axis is all of a dimension, and nothing else.
func (a *act) is(i int, d dim) bool {
	return i >= 0 && i < len(a.axes) && slices.Equal(a.axes[i], whole(d, a.size(d)))
}

// only reports whether all atoms of an axis are of a dimension.
func (x axis) only(d dim) bool {
	return !slices.ContainsFunc(x, func(a atom) bool { return a.dim != d })
}

// nchw reports whether the tensor is an image as ONNX has it, [N,C,H,W].
func (a *act) nchw() bool {
	return len(a.axes) == 4 && a.is(0, batch) && a.is(1, channel) && a.is(2, row) && a.is(3, column)
}

// image returns an act of a module's output [n,h,w,c] as ONNX's [N,C,H,W].
func image(from *mod, n, h, w, c int) *act {
	return &act{from: from, n: n, h: h, w: w, c: c,
		axes: []axis{whole(batch, n), whole(channel, c), whole(row, h), whole(column, w)}}
}

// sameAxes reports whether two tensors have the same axes.
func sameAxes(a, b *act) bool {
	return slices.EqualFunc(a.axes, b.axes, func(x, y axis) bool { return slices.Equal(x, y) })
}

// permuted returns the channel that stands at each place of the atoms, which are
// all of the channels in another order.
func permuted(x axis) []int {
	at := make([]int, x.size())
	for k := range at {
		rest := k
		for i := len(x) - 1; i >= 0; i-- {
			at[k] += rest % x[i].size * x[i].stride
			rest /= x[i].size
		}
	}
	return at
}

// vector returns the values, one for each element of a dimension of the tensor,
// by which a constant that is broadcast against it depends on that dimension
// alone; ok is false where it depends on others. A constant of one element gives
// a single one, and so does one of many elements that are equal where they do not
// belong to the dimension.
func (a *act) vector(k *array, d dim) (v []float32, ok bool) {
	if len(k.shape) > len(a.axes) {
		return nil, false
	}
	if k.len() > 1 {
		if v, ok = a.vectorOf(k, d); ok {
			return v, true
		}
	}
	s, same := k.scalar()
	return []float32{float32(s)}, same
}

// vectorOf is vector of a constant of several elements.
func (a *act) vectorOf(k *array, d dim) (v []float32, ok bool) {
	lead := len(a.axes) - len(k.shape)
	v = make([]float32, a.size(d))
	step := strides(k.shape)
	// Each axis of the constant that is not 1 must consist of atoms of d.
	type digit struct{ stride, size, step int }
	var digits []digit
	for i, n := range k.shape {
		if n == 1 {
			continue
		}
		x := a.axes[lead+i]
		if x.size() != n || !x.only(d) {
			return nil, false
		}
		s := step[i]
		for j := len(x) - 1; j >= 0; j-- {
			digits = append(digits, digit{x[j].stride, x[j].size, s})
			s *= x[j].size
		}
	}
	for c := range v {
		at := 0
		for _, g := range digits {
			at += c / g.stride % g.size * g.step
		}
		v[c] = float32(k.at(at))
	}
	return v, true
}
