package onnxnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// A value is a tensor of the graph: a constant, or one that depends on the image.
// Neither is set for an input that is left out.
type value struct {
	c *array
	a *act
}

// A mod is a module that is being made.
type mod struct {
	node *onnxread.Node // that it is made of
	path string         // PyTorch's path, where a tensor's name tells it
	kind string
	set  map[string]any // settings, by their keys in files
	in   []*mod         // nil stands for the image
	data []weight
	// fakes are quantizers, by their role.
	fakes map[string]*coding
	// The sizes of its output.
	n, h, w, c int
	flat       bool
	name       string // once all are made
}

// A weight is a tensor of a module, in PyTorch's layout.
type weight struct {
	role  string
	shape []int
	data  []float32
	codes *coding // of data, with a scale for each index of the first axis, or one
	from  *array  // the constant that it is, unchanged; nil for what was computed
}

// A translator turns a graph into modules for images of one size.
type translator struct {
	*graph
	values map[string]value
	mods   []*mod
	// left are the nodes at the end that are left off, and pass their input on.
	left map[*onnxread.Node]bool
}

// An operator translates a node.
type operator func(t *translator, n *onnxread.Node, in []value) ([]value, error)

// run translates all nodes.
func (t *translator) run() error {
	for _, n := range t.nodes {
		out, err := t.node(n)
		if err != nil {
			return refused(n, err)
		}
		if len(t.mods) > maxMods {
			return named.Refused(fixSimplify, "its nodes become more than %d modules", maxMods)
		}
		for i, name := range n.Out {
			if i >= len(out) || name == "" {
				continue
			}
			if a := out[i].a; a != nil && (a.c > maxChannels || a.h > maxSide || a.w > maxSide) {
				return refused(n, fmt.Errorf("what it makes, %v, is too large", a.shape()))
			}
			t.values[name] = out[i]
		}
	}
	return nil
}

// Limits on what is translated. What becomes a net must keep to those of package
// layers, too.
const (
	maxMods     = 1 << 13
	maxChannels = 1 << 22
	maxSide     = 1 << 16
)

func (t *translator) node(n *onnxread.Node) ([]value, error) {
	in := make([]value, len(n.In))
	constant := true
	consts := make([]*array, len(n.In))
	for i, name := range n.In {
		if name == "" {
			continue
		}
		if c := t.consts[name]; c != nil {
			in[i], consts[i] = value{c: c}, c
			continue
		}
		v, ok := t.values[name]
		if !ok {
			return nil, fmt.Errorf("its input %s is an output that is not made here", named.Quote(name))
		}
		in[i], consts[i] = v, v.c
		constant = constant && v.c != nil
	}
	if constant {
		out, ok, err := t.fold.fold(n, t.opset, consts)
		if err != nil || ok {
			values := make([]value, len(out))
			for i := range out {
				values[i].c = out[i]
			}
			return values, err
		}
		return nil, fmt.Errorf("all that it reads is constant, and the operator is not one that is computed")
	}
	if t.left[n] {
		return []value{in[0]}, nil
	}
	op, ok := operators[n.Op]
	if r, known := refusals[n.Op]; known && !ok {
		return nil, named.Refused(r.fix, "%s", r.reason)
	}
	if !ok {
		return nil, fmt.Errorf("the operator is not one of the CNN classifiers that are taken")
	}
	return op(t, n, in)
}

var operators map[string]operator

func init() {
	operators = make(map[string]operator)
	for _, table := range []map[string]operator{shapeOperators, windowOperators, normOperators, linearOperators, elementOperators, quantizeOperators} {
		for name, op := range table {
			operators[name] = op
		}
	}
	for name := range activations {
		operators[name] = activation
	}
}

// refusals are operators of which more can be said than that they are not taken.
var refusals = make(map[string]struct{ reason, fix string })

func init() {
	for _, r := range []struct{ operators, reason, fix string }{
		{"DynamicQuantizeLinear", "it finds the range of each batch anew, and no product of codes with their scales reads it, as ONNX Runtime's dynamic " +
			"quantization has it; the ranges of a net are fixed", fixDynamic},
		{"ConvTranspose Resize Upsample DepthToSpace GridSample MaxUnpool",
			"it makes images larger or turns channels into pixels, which no classifier here does", fixSimplify},
		{"ArgMax ArgMin TopK NonMaxSuppression NonZero OneHot", "it makes places of numbers, not logits", "end the model with its logits"},
		{"If Loop Scan", "graphs within nodes are not read", "export it with constant shapes and without control flow"},
		{"LSTM GRU RNN Attention", "it is no part of a CNN", fixSimplify},
	} {
		for _, op := range strings.Fields(r.operators) {
			refusals[op] = struct{ reason, fix string }{r.reason, r.fix}
		}
	}
}

// first returns the first input, which must depend on the image.
func first(in []value) (*act, error) {
	if len(in) == 0 || in[0].a == nil {
		return nil, fmt.Errorf("its first input does not depend on the image")
	}
	return in[0].a, nil
}

// constants returns inputs from the given one on that must be constant, nil for
// those left out.
func constants(in []value, from, n int) ([]*array, error) {
	out := make([]*array, n)
	for i := range out {
		if from+i >= len(in) {
			break
		}
		if in[from+i].a != nil {
			return nil, fmt.Errorf("its input %d is computed from the image; only constants are taken there", from+i+1)
		}
		out[i] = in[from+i].c
	}
	return out, nil
}

// emit adds a module whose output has the sizes of like.
func (t *translator) emit(n *onnxread.Node, like *act, kind string, set map[string]any, data []weight, in ...*mod) *mod {
	m := &mod{node: n, kind: kind, set: set, data: data, in: in, n: like.n, h: like.h, w: like.w, c: like.c, flat: like.flat}
	for _, w := range data {
		if w.from != nil && m.path == "" {
			m.path = pathOf(w.from.name, w.role)
		}
		if w.codes != nil && w.role == layers.FakeWeight {
			m.fakes = map[string]*coding{w.role: w.codes}
		}
	}
	t.mods = append(t.mods, m)
	return m
}

// pointwise adds a module that leaves every element in its place.
func (t *translator) pointwise(n *onnxread.Node, a *act, kind string, set map[string]any, data ...weight) []value {
	b := *a
	b.from = t.emit(n, a, kind, set, data, a.from)
	return []value{{a: &b}}
}

// tensor returns the weight of a role that is a constant as it is.
func (t *translator) tensor(role string, c *array, shape ...int) (weight, error) {
	data, err := t.fold.whole(c)
	if err != nil {
		return weight{}, err
	}
	if volume(shape) != len(data) {
		return weight{}, fmt.Errorf("its %s has the shape %v, where %v is needed", role, c.shape, shape)
	}
	return weight{role: role, shape: shape, data: data, from: c, codes: c.coding.along(0)}, nil
}

// filled returns n times a number.
func filled(n int, v float32) []float32 { return slices.Repeat([]float32{v}, n) }

// vectorOf returns the weight of a role that has a number a channel, from a
// constant that is broadcast over the others.
func (t *translator) channelVector(role string, a *act, c *array) (weight, error) {
	if err := t.fold.take(2 * a.c); err != nil {
		return weight{}, err
	}
	v, ok := a.vector(c, channel)
	if !ok {
		return weight{}, fmt.Errorf("its constant of the shape %v does not belong to the channels of %v", c.shape, a.shape())
	}
	if len(v) == 1 {
		v = filled(a.c, v[0])
	}
	w := weight{role: role, shape: []int{a.c}, data: v}
	if c.len() == a.c {
		w.from = c
	}
	return w, nil
}

// settled returns the tensor with channels in their own order within the given
// axis, for which it may add a ChannelShuffle.
func (t *translator) settled(n *onnxread.Node, a *act) (*act, error) {
	i := slices.IndexFunc(a.axes, func(x axis) bool {
		return len(x) > 1 && x.only(channel) && x.size() == a.c
	})
	if i < 0 {
		return a, nil
	}
	x := a.axes[i]
	if len(x) != 2 || x[0].stride != 1 || x[1].stride != x[0].size {
		return nil, fmt.Errorf("it reads channels in an order that no ChannelShuffle makes")
	}
	axes := slices.Clone(a.axes)
	axes[i] = whole(channel, a.c)
	b := a.with(axes)
	b.from = t.emit(n, a, "ChannelShuffle", map[string]any{"groups": x[1].size}, nil, a.from)
	return b, nil
}

// image returns the tensor as one of [N,C,H,W], or says what it is.
func (t *translator) image(n *onnxread.Node, a *act) (*act, error) {
	a, err := t.settled(n, a)
	if err != nil {
		return nil, err
	}
	if !a.nchw() {
		return nil, fmt.Errorf("its input of %v is no image [N,C,H,W] of the net's", a.shape())
	}
	return a, nil
}

// flatten returns the tensor over a flat value, for which it adds a Flatten.
func (t *translator) flatten(n *onnxread.Node, a *act) *act {
	if a.flat {
		return a
	}
	b := &act{n: a.n, h: 1, w: 1, c: a.c * a.h * a.w, flat: true, axes: make([]axis, len(a.axes))}
	for i, x := range a.axes {
		var y axis
		for _, p := range x {
			switch p.dim {
			case channel:
				p.stride *= a.h * a.w
			case row:
				p.dim, p.stride = channel, p.stride*a.w
			case column:
				p.dim = channel
			}
			y = append(y, p)
		}
		b.axes[i] = merge(y)
	}
	b.from = t.emit(n, b, "Flatten", nil, nil, a.from)
	return b
}
