package onnxnet

import (
	"fmt"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// windowOperators move a window over the image.
var windowOperators = map[string]operator{
	"Conv": convolution, "MaxPool": maxPool, "AveragePool": averagePool, "Pad": padAct,
	"GlobalAveragePool": globalPool, "GlobalMaxPool": globalPool, "ReduceMean": reduceAct, "ReduceMax": reduceAct, "ReduceSum": reduceAct,
}

// A window is how Conv and the pools step over an image: [height, width], and
// the pads [top, left, bottom, right].
type window struct {
	kernel, stride, dilation [2]int
	pads                     [4]int
	ceil                     bool
}

// windowOf reads the attributes of a node, for images of h×w pixels.
func windowOf(n *onnxread.Node, kernel []int, h, w int) (window, error) {
	v := window{stride: [2]int{1, 1}, dilation: [2]int{1, 1}, ceil: n.Int("ceil_mode", 0) != 0}
	if k := n.Ints("kernel_shape"); k != nil {
		kernel = k
	}
	for _, p := range []struct {
		name string
		from []int
		to   []int
	}{
		{"kernel_shape", kernel, v.kernel[:]}, {"strides", n.Ints("strides"), v.stride[:]}, {"dilations", n.Ints("dilations"), v.dilation[:]}, {"pads", n.Ints("pads"), v.pads[:]},
	} {
		if p.from == nil && p.name != "kernel_shape" {
			continue
		}
		if len(p.from) != len(p.to) {
			return v, fmt.Errorf("its %s are %v; windows of two dimensions are taken", p.name, p.from)
		}
		copy(p.to, p.from)
	}
	const most = 1 << 14
	for i := range 2 {
		if v.kernel[i] < 1 || v.stride[i] < 1 || v.dilation[i] < 1 || v.kernel[i] > most || v.stride[i] > most || v.dilation[i] > most {
			return v, fmt.Errorf("a kernel of %v with strides %v and dilations %v", v.kernel, v.stride, v.dilation)
		}
	}
	for i, size := range []int{h, w} {
		switch auto := n.Text("auto_pad", "NOTSET"); auto {
		case "NOTSET", "":
		case "VALID":
			v.pads[i], v.pads[i+2] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			out := (size + v.stride[i] - 1) / v.stride[i]
			total := max((out-1)*v.stride[i]+(v.kernel[i]-1)*v.dilation[i]+1-size, 0)
			v.pads[i], v.pads[i+2] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				v.pads[i], v.pads[i+2] = total-total/2, total/2
			}
			v.ceil = false
		default:
			return v, fmt.Errorf("unknown auto_pad %q", auto)
		}
	}
	for _, p := range v.pads {
		if p < 0 || p > most {
			return v, fmt.Errorf("pads of %v", v.pads)
		}
	}
	return v, nil
}

// size returns the sizes of what the window makes.
func (v window) size(h, w int) (int, int, error) {
	var out [2]int
	for i, size := range []int{h, w} {
		room := size + v.pads[i] + v.pads[i+2] - (v.kernel[i]-1)*v.dilation[i] - 1
		if room < 0 {
			return 0, 0, fmt.Errorf("a kernel of %v with dilations %v does not fit an image of %dx%d", v.kernel, v.dilation, h, w)
		}
		out[i] = room/v.stride[i] + 1
		if v.ceil && room%v.stride[i] != 0 && out[i]*v.stride[i] < size+v.pads[i] {
			out[i]++ // a window more, if it begins on the image or the pad before it
		}
	}
	return out[0], out[1], nil
}

// pair is a setting of [height, width], a number where both are equal.
func pair(v [2]int) any {
	if v[0] == v[1] {
		return v[0]
	}
	return []int{v[0], v[1]}
}

// padding is a setting of four pads, [height, width] or a number where they are equal.
func padding(p [4]int) any {
	if p[0] == p[2] && p[1] == p[3] {
		return pair([2]int{p[0], p[1]})
	}
	return []int{p[0], p[1], p[2], p[3]}
}

// settings returns those that all kinds of windows have.
func (v window) settings() map[string]any {
	set := map[string]any{"kernel_size": pair(v.kernel), "stride": pair(v.stride), "padding": padding(v.pads)}
	if v.dilation != [2]int{1, 1} {
		set["dilation"] = pair(v.dilation)
	}
	if v.ceil {
		set["ceil_mode"] = true
	}
	return set
}

// moved returns the image that a module of the given sizes makes.
func moved(from *mod, n, h, w, c int) []value { return []value{{a: image(from, n, h, w, c)}} }

func convolution(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil {
		return nil, err
	}
	k, groups := c[0], n.Int("group", 1)
	if k == nil || len(k.shape) != 4 {
		return nil, fmt.Errorf("its weight is not one of [O,I,height,width]")
	}
	if a, err = t.image(n, a); err != nil {
		return nil, err
	}
	v, err := windowOf(n, k.shape[2:], a.h, a.w)
	if err != nil {
		return nil, err
	}
	o := k.shape[0]
	if groups < 1 || k.shape[1]*groups != a.c || o%groups != 0 || v.kernel != [2]int{k.shape[2], k.shape[3]} {
		return nil, fmt.Errorf("a weight of %v in %d groups and a kernel of %v for %d channels", k.shape, groups, v.kernel, a.c)
	}
	w, err := t.tensor("weight", k, k.shape...)
	if err != nil {
		return nil, err
	}
	data := []weight{w}
	if c[1] != nil {
		b, err := t.tensor("bias", c[1], o)
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	if a.flat {
		if v.kernel != [2]int{1, 1} || v.pads != [4]int{} || groups != 1 {
			return nil, fmt.Errorf("a convolution of a flat vector")
		}
		data[0].shape = []int{o, a.c}
		m := t.emit(n, &act{n: a.n, h: 1, w: 1, c: o, flat: true}, "Linear",
			map[string]any{"in_features": a.c, "out_features": o, "bias": len(data) == 2}, data, a.from)
		b := image(m, a.n, 1, 1, o)
		b.flat = true
		return []value{{a: b}}, nil
	}
	h, wide, err := v.size(a.h, a.w)
	if err != nil {
		return nil, err
	}
	set := v.settings()
	set["in_channels"], set["out_channels"], set["groups"], set["bias"] = a.c, o, groups, len(data) == 2
	m := t.emit(n, &act{n: a.n, h: h, w: wide, c: o}, "Conv2d", set, data, a.from)
	return moved(m, a.n, h, wide, o), nil
}

// pooled is what both pools have in common.
func (t *translator) pooled(n *onnxread.Node, in []value) (a *act, v window, h, w int, err error) {
	if a, err = first(in); err != nil {
		return
	}
	if a, err = t.image(n, a); err != nil {
		return
	}
	if v, err = windowOf(n, nil, a.h, a.w); err != nil {
		return
	}
	h, w, err = v.size(a.h, a.w)
	return
}

func maxPool(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	if len(n.Out) > 1 && n.Out[1] != "" {
		return nil, fmt.Errorf("it gives the places of the largest values; only the values are taken")
	}
	a, v, h, w, err := t.pooled(n, in)
	if err != nil {
		return nil, err
	}
	if a.flat {
		return []value{{a: a}}, whole1(v)
	}
	m := t.emit(n, &act{n: a.n, h: h, w: w, c: a.c}, "MaxPool2d", v.settings(), nil, a.from)
	return moved(m, a.n, h, w, a.c), nil
}

// whole1 makes sure that a window over a single pixel changes nothing.
func whole1(v window) error {
	if v.kernel != [2]int{1, 1} || v.pads != [4]int{} {
		return fmt.Errorf("a window over a flat vector")
	}
	return nil
}

func averagePool(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, v, h, w, err := t.pooled(n, in)
	if err != nil {
		return nil, err
	}
	if a.flat {
		return []value{{a: a}}, whole1(v)
	}
	if v.dilation != [2]int{1, 1} {
		return nil, fmt.Errorf("the mean over a window with dilations %v", v.dilation)
	}
	set := v.settings()
	if n.Int("count_include_pad", 0) == 0 && v.pads != [4]int{} {
		set["count_include_pad"] = false
	}
	m := t.emit(n, &act{n: a.n, h: h, w: w, c: a.c}, "AvgPool2d", set, nil, a.from)
	return moved(m, a.n, h, w, a.c), nil
}
