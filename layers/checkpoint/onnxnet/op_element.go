package onnxnet

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// elementOperators combine tensors element by element.
var elementOperators = map[string]operator{
	"Add": elements, "Sum": elements, "Mul": elements, "Sub": elements, "Div": elements, "Max": elements, "Min": elements, "Mean": elements, "Pow": power,
	"PRelu": preluAct, "Selu": selu,
}

// kindOf are the modules of two tensors that both depend on the image.
var kindOf = map[string]string{
	"Add": "Add", "Sum": "Add", "Mean": "Add", "Mul": "Mul", "Sub": "Sub", "Div": "Div", "Max": "Maximum", "Min": "Minimum",
}

// elements translates an operator of several tensors: the constants among them
// become scales and shifts, the others one module.
func elements(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	if (n.Op == "Sub" || n.Op == "Div") && (len(in) != 2 || in[0] == (value{}) || in[1] == (value{})) {
		return nil, fmt.Errorf("it has not two inputs")
	}
	var acts []*act
	var consts []*array
	for _, v := range in {
		switch {
		case v.a != nil:
			acts = append(acts, v.a)
		case v.c != nil:
			consts = append(consts, v.c)
		}
	}
	if len(acts) == 0 {
		return nil, fmt.Errorf("none of its inputs depends on the image")
	}
	a := acts[0]
	if len(acts) > 1 {
		if n.Op == "Sub" || n.Op == "Div" {
			return t.pairOf(n, in[0].a, in[1].a)
		}
		var err error
		if a, err = t.joined(n, acts); err != nil {
			return nil, err
		}
	}
	for _, c := range consts {
		v, err := t.withConstant(n, a, c, in[0].a == nil)
		if err != nil {
			return nil, err
		}
		a = v
	}
	if n.Op == "Mean" && len(in) > 1 {
		return t.scaled(n, a, filled(1, 1/float32(len(in))), nil), nil
	}
	return []value{{a: a}}, nil
}

// withConstant combines a tensor with a constant; reversed says that the constant
// comes first.
func (t *translator) withConstant(n *onnxread.Node, a *act, c *array, reversed bool) (*act, error) {
	shape, ok := broadcast(a.shape(), c.shape)
	if !ok || volume(shape) != volume(a.shape()) {
		return nil, fmt.Errorf("its constant of the shape %v does not fit %v", c.shape, a.shape())
	}
	if len(c.shape) > len(a.axes) { // axes of 1 come before
		if a, ok = a.lifted(len(c.shape)), true; !ok {
			return nil, fmt.Errorf("its constant of the shape %v does not fit %v", c.shape, a.shape())
		}
	}
	if err := t.fold.take(2 * a.c); err != nil {
		return nil, err
	}
	v, ok := a.vector(c, channel)
	if !ok {
		return nil, fmt.Errorf("its constant of the shape %v does not belong to the channels of %v", c.shape, a.shape())
	}
	each := func(f func(x float32) float32) []float32 {
		out := make([]float32, len(v))
		for i, x := range v {
			out[i] = f(x)
		}
		return out
	}
	negative := func(x float32) float32 { return -x }
	var out []value
	switch n.Op {
	case "Add", "Sum", "Mean":
		out = t.scaled(n, a, nil, v)
	case "Mul":
		out = t.scaled(n, a, v, nil)
	case "Sub":
		if reversed {
			out = t.scaled(n, a, filled(1, -1), v)
		} else {
			out = t.scaled(n, a, nil, each(negative))
		}
	case "Div":
		if reversed {
			out = t.pointwise(n, a, "Reciprocal", nil)
			out = t.scaled(n, out[0].a, v, nil)
		} else {
			out = t.scaled(n, a, each(func(x float32) float32 { return float32(1 / float64(x)) }), nil)
		}
	case "Max", "Min":
		bound, same := c.scalar()
		if !same {
			return nil, fmt.Errorf("a bound that differs from channel to channel")
		}
		low, high := bound, math.Inf(1)
		if n.Op == "Min" {
			low, high = math.Inf(-1), bound
		}
		kind, set := bounded(low, high)
		if kind == "" {
			return a, nil
		}
		out = t.pointwise(n, a, kind, set)
	}
	return out[0].a, nil
}

// lifted returns the tensor with axes of 1 before its own.
func (a *act) lifted(rank int) *act {
	return a.with(slices.Concat(make([]axis, rank-len(a.axes)), a.axes))
}

// scaled adds a ScaleShift, unless it would change nothing. Scale and shift have
// one value, or one a channel; nil stands for none. One a channel is kept whatever
// it is: it is a parameter.
func (t *translator) scaled(n *onnxread.Node, a *act, scale, shift []float32) []value {
	trivial := func(v []float32, one float32) bool { return len(v) == 0 || len(v) == 1 && v[0] == one }
	if trivial(scale, 1) && trivial(shift, 0) {
		return []value{{a: a}}
	}
	set := map[string]any{"channels": a.c, "scale": scale != nil, "bias": shift != nil}
	var data []weight
	for _, p := range []struct {
		role string
		v    []float32
	}{{"weight", scale}, {"bias", shift}} {
		if p.v == nil {
			continue
		}
		if len(p.v) == 1 {
			p.v = filled(a.c, p.v[0])
		}
		data = append(data, weight{role: p.role, shape: []int{a.c}, data: p.v})
	}
	return t.pointwise(n, a, "ScaleShift", set, data...)
}

// joined combines tensors of one shape by the node's operator.
func (t *translator) joined(n *onnxread.Node, acts []*act) (*act, error) {
	same := true
	for _, b := range acts[1:] {
		same = same && slices.Equal(acts[0].shape(), b.shape())
	}
	if len(acts) == 2 && !same {
		out, err := t.pairOf(n, acts[0], acts[1])
		if err != nil {
			return nil, err
		}
		return out[0].a, nil
	}
	acts, err := t.alike(n, acts)
	if err != nil {
		return nil, err
	}
	var from []*mod
	for _, b := range acts {
		from = append(from, b.from)
	}
	out := *acts[0]
	out.from = t.emit(n, &out, kindOf[n.Op], nil, nil, from...)
	return &out, nil
}

// alike brings tensors of one shape to one form: channels in their own order,
// and all flat where one is.
func (t *translator) alike(n *onnxread.Node, acts []*act) ([]*act, error) {
	acts = slices.Clone(acts)
	flat := slices.ContainsFunc(acts, func(a *act) bool { return a.flat })
	for i, a := range acts {
		a, err := t.settled(n, a)
		if err != nil {
			return nil, err
		}
		if flat {
			a = t.flatten(n, a)
		}
		acts[i] = a
	}
	for _, a := range acts[1:] {
		if !sameAxes(acts[0], a) || acts[0].c != a.c || acts[0].h != a.h || acts[0].w != a.w {
			return nil, fmt.Errorf("it combines %v and %v, whose axes do not lie alike", acts[0].shape(), a.shape())
		}
	}
	return acts, nil
}

// pairOf combines two tensors, of which one may be a factor of the other's
// channels or pixels.
func (t *translator) pairOf(n *onnxread.Node, a, b *act) ([]value, error) {
	if slices.Equal(a.shape(), b.shape()) {
		both, err := t.alike(n, []*act{a, b})
		if err != nil {
			return nil, err
		}
		out := *both[0]
		out.from = t.emit(n, &out, kindOf[n.Op], nil, nil, both[0].from, both[1].from)
		return []value{{a: &out}}, nil
	}
	shape, ok := broadcast(a.shape(), b.shape())
	if !ok || n.Op != "Mul" {
		return nil, fmt.Errorf("it combines %v and %v, which differ", a.shape(), b.shape())
	}
	if volume(b.shape()) > volume(a.shape()) {
		a, b = b, a
	}
	if volume(shape) != volume(a.shape()) {
		return nil, fmt.Errorf("it makes %v of %v and %v", shape, a.shape(), b.shape())
	}
	var err error
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	if b, err = t.settled(n, b); err != nil {
		return nil, err
	}
	a, b = a.lifted(len(shape)), b.lifted(len(shape))
	for i := range shape {
		if len(b.axes[i]) > 0 && !slices.Equal(a.axes[i], b.axes[i]) {
			return nil, fmt.Errorf("it combines %v and %v, whose axes do not lie alike", a.shape(), b.shape())
		}
	}
	perChannel := b.c == a.c && b.h == 1 && b.w == 1
	perPixel := b.c == 1 && b.h == a.h && b.w == a.w && !b.flat
	if b.n != a.n || !perChannel && !perPixel || a.flat {
		return nil, fmt.Errorf("it multiplies %v by %v; a factor for each channel or each pixel is taken", a.shape(), b.shape())
	}
	out := *a
	out.from = t.emit(n, &out, "Mul", nil, nil, a.from, b.from)
	return []value{{a: &out}}, nil
}

func power(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil || c[0] == nil {
		return nil, fmt.Errorf("its exponent is not constant")
	}
	e, ok := c[0].scalar()
	if shape, fits := broadcast(a.shape(), c[0].shape); !ok || !fits || volume(shape) != volume(a.shape()) {
		return nil, fmt.Errorf("its exponent is not one number")
	}
	switch e {
	case 1:
		return []value{{a: a}}, nil
	case 0.5:
		return t.pointwise(n, a, "Sqrt", nil), nil
	case -1:
		return t.pointwise(n, a, "Reciprocal", nil), nil
	}
	return t.pointwise(n, a, "Pow", map[string]any{"exponent": decimal(float32(e))}), nil
}

func preluAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	c, err := constants(in, 1, 1)
	if err != nil || c[0] == nil {
		return nil, fmt.Errorf("its slope is not constant")
	}
	if a, err = t.settled(n, a); err != nil {
		return nil, err
	}
	if len(c[0].shape) == 1 && c[0].len() > 1 && len(a.axes) > 1 && !a.is(len(a.axes)-1, channel) {
		return nil, fmt.Errorf("a slope of the shape %v is not one a channel of %v", c[0].shape, a.shape())
	}
	v, ok := a.vector(c[0], channel)
	if !ok {
		return nil, fmt.Errorf("a slope of the shape %v is not one a channel of %v", c[0].shape, a.shape())
	}
	if c[0].len() > 1 && len(v) == 1 {
		v = filled(a.c, v[0])
	}
	w := weight{role: "weight", shape: []int{len(v)}, data: v}
	if c[0].len() == len(v) {
		w.from = c[0]
	}
	return t.pointwise(n, a, "PReLU", map[string]any{"num_parameters": len(v)}, w), nil
}

// concatAct joins tensors along their channels.
func concatAct(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	var acts []*act
	flat := false
	for _, v := range in {
		if v.a == nil {
			return nil, fmt.Errorf("one of its inputs is constant")
		}
		a, err := t.settled(n, v.a)
		if err != nil {
			return nil, err
		}
		acts = append(acts, a)
		flat = flat || a.flat
	}
	i, err := axisOf(n.Int("axis", 1), len(acts[0].axes))
	if err != nil {
		return nil, err
	}
	for _, a := range acts {
		if i < len(a.axes) && !a.axes[i].only(channel) {
			flat = true // channels with their pixels: all are made flat vectors
		}
	}
	var from []*mod
	total := 0
	for k, a := range acts {
		if flat {
			a = t.flatten(n, a)
			if a, err = t.settled(n, a); err != nil {
				return nil, err
			}
			acts[k] = a
		}
		b := acts[0]
		if len(a.axes) != len(b.axes) || !a.is(i, channel) || a.n != b.n || a.h != b.h || a.w != b.w {
			return nil, fmt.Errorf("it joins %v and %v, not along their channels", b.shape(), a.shape())
		}
		for j := range a.axes {
			if j != i && !slices.Equal(a.axes[j], b.axes[j]) {
				return nil, fmt.Errorf("it joins %v and %v, whose axes do not lie alike", b.shape(), a.shape())
			}
		}
		from = append(from, a.from)
		total += a.c
	}
	if len(acts) == 1 {
		return []value{{a: acts[0]}}, nil
	}
	out := *acts[0]
	out.c, out.axes = total, slices.Clone(acts[0].axes)
	out.axes[i] = whole(channel, total)
	out.from = t.emit(n, &out, "Concat", nil, nil, from...)
	return []value{{a: &out}}, nil
}
