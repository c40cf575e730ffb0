package onnx

import (
	"encoding/binary"
	"slices"

	"github.com/potstill/potstill/engine"
)

// ints adds a tensor of int64 and returns its name.
func (x *exporter) ints(name string, values ...int) string {
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(int64(v)))
	}
	return x.tensor(name, typeInt64, []int{len(values)}, raw)
}

// then writes a node between two others and returns its output's name, which
// begins as that of v does.
func (x *exporter) then(v *engine.Value, what, op string, in []string, attrs ...attr) string {
	out := x.unique(x.names[v] + what)
	x.node(node{op: op, name: out, in: in, out: out, attrs: attrs})
	return out
}

// nchw returns the shape of a value in ONNX, with 0 for the number of images: as
// many as there are. Channels lie on axis 1.
func nchw(v *engine.Value) []int {
	if _, h, w, c, ok := v.NHWC(); ok {
		return []int{0, c, h, w}
	}
	return []int{0, v.Shape[1]}
}

// slice writes the channels from start up to end.
func (x *exporter) slice(n *engine.Node, op engine.Slice) {
	name := x.names[n.Out[0]]
	in := append(x.inputs(n), x.ints(name+".start", op.Start), x.ints(name+".end", op.End), x.ints(name+".axis", 1))
	x.node(node{op: "Slice", name: name, in: in, out: name})
}

// shuffle writes a ChannelShuffle as PyTorch computes it: the channels as a
// matrix of Groups rows, transposed.
func (x *exporter) shuffle(n *engine.Node, op engine.ChannelShuffle) {
	v := n.Out[0]
	name, shape := x.names[v], nchw(v)
	parted := slices.Concat([]int{0, op.Groups, shape[1] / op.Groups}, shape[2:])
	perm := make([]int, len(parted))
	for i := range perm {
		perm[i] = i
	}
	perm[1], perm[2] = 2, 1
	y := x.then(v, ".parted", "Reshape", append(x.inputs(n), x.ints(name+".parts", parted...)))
	y = x.then(v, ".transposed", "Transpose", []string{y}, intsAttr("perm", perm...))
	x.node(node{op: "Reshape", name: name, in: []string{y, x.ints(name+".shape", shape...)}, out: name})
}

// layerNorm writes a LayerNorm, which ONNX has over the last axes.
func (x *exporter) layerNorm(n *engine.Node, op engine.LayerNorm) error {
	gamma, beta, err := x.scaleAndShift(n, 1)
	if err != nil {
		return err
	}
	v := n.Out[0]
	name, in := x.names[v], x.inputs1(n)
	attrs := []attr{intAttr("axis", -1), floatAttr("epsilon", op.Eps)}
	if len(v.Shape) == 2 {
		x.node(node{op: "LayerNormalization", name: name, in: []string{in, gamma, beta}, out: name, attrs: attrs})
		return nil
	}
	y := x.then(v, ".nhwc", "Transpose", []string{in}, intsAttr("perm", 0, 2, 3, 1))
	y = x.then(v, ".normalized", "LayerNormalization", []string{y, gamma, beta}, attrs...)
	x.node(node{op: "Transpose", name: name, in: []string{y}, out: name, attrs: []attr{intsAttr("perm", 0, 3, 1, 2)}})
	return nil
}

// groupNorm writes a GroupNorm, which ONNX has from operator set 18 on only: an
// InstanceNormalization of the groups, and γ and β behind it.
func (x *exporter) groupNorm(n *engine.Node, op engine.GroupNorm) error {
	v := n.Out[0]
	shape := nchw(v)
	gamma, beta, err := x.scaleAndShift(n, len(shape)-1)
	if err != nil {
		return err
	}
	name := x.names[v]
	ones := make([]float32, op.Groups)
	for i := range ones {
		ones[i] = 1
	}
	y := x.then(v, ".parted", "Reshape", []string{x.inputs1(n), x.ints(name+".parts", 0, op.Groups, -1)})
	unit := []string{y, x.float(name+".ones", []int{op.Groups}, ones...), x.float(name+".zeros", []int{op.Groups}, make([]float32, op.Groups)...)}
	y = x.then(v, ".instances", "InstanceNormalization", unit, floatAttr("epsilon", op.Eps))
	y = x.then(v, ".whole", "Reshape", []string{y, x.ints(name+".shape", shape...)})
	y = x.then(v, ".scaled", "Mul", []string{y, gamma})
	x.node(node{op: "Add", name: name, in: []string{y, beta}, out: name})
	return nil
}

// inputs1 returns the tensor of a node's first input.
func (x *exporter) inputs1(n *engine.Node) string { return x.read(n.In[0]) }

// scaleAndShift writes γ and β of a normalization, with so many axes of which
// the first has the channels.
func (x *exporter) scaleAndShift(n *engine.Node, axes int) (gamma, beta string, err error) {
	names := make([]string, 2)
	for i, v := range n.In[1:3] {
		name, values := x.names[n.Out[0]]+[]string{".weight", ".bias"}[i], []float32(nil)
		if fill, ok := filled(v); ok {
			values = slices.Repeat([]float32{fill.Value}, v.Len())
		} else {
			e, err := x.entry(v)
			if err != nil {
				return "", "", err
			}
			name, values = e.Name, e.Data
		}
		shape := slices.Repeat([]int{1}, axes)
		shape[0] = len(values)
		names[i] = x.float(name, shape, values...)
	}
	return names[0], names[1], nil
}

// filled returns the Fill that makes v, if one does.
func filled(v *engine.Value) (engine.Fill, bool) {
	if v.Node() == nil {
		return engine.Fill{}, false
	}
	f, ok := v.Node().Op.(engine.Fill)
	return f, ok
}
