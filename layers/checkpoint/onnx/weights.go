package onnx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/affine"
)

// weights are what a convolution or a linear layer computes with, in PyTorch's
// layout, and what a BatchNorm behind it makes of them: w'[o,…] = factor[o]·w[o,…].
type weights struct {
	name, biasName string
	shape          []int
	data           []float32
	codes          *layers.Codes // that data decode, nil if they are stored in full
	factor         []float64     // nil: 1
	bias           []float32     // folded already; nil: none
	fake           *engine.Node  // the quantizer of data; nil: none
}

// channels returns the number of output channels, and of weights in each.
func (w *weights) channels() (o, each int) { return w.shape[0], len(w.data) / w.shape[0] }

// folded returns w'.
func (w *weights) folded() []float32 {
	if w.factor == nil {
		return w.data
	}
	_, each := w.channels()
	out := make([]float32, len(w.data))
	for i, v := range w.data {
		out[i] = float32(float64(v) * w.factor[i/each])
	}
	return out
}

// entry returns the content of a variable.
func (x *exporter) entry(v *engine.Value) (*layers.Entry, error) {
	if e := x.entries[v.Variable()]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%v is not a tensor of the model", v)
}

// weights collects those of n, with bn folded in unless it is nil.
func (x *exporter) weights(n, bn *engine.Node) (*weights, error) {
	value := n.In[1]
	fake := value.Node()
	if fake != nil {
		value = fake.In[0]
	}
	e, err := x.entry(value)
	if err != nil {
		return nil, err
	}
	w := &weights{fake: fake, name: e.Name, biasName: nodeName(n) + ".bias", shape: e.Shape, data: e.Data, codes: e.Codes}
	if len(n.In) > 2 {
		b, err := x.entry(n.In[2])
		if err != nil {
			return nil, err
		}
		w.biasName, w.bias = b.Name, b.Data
	}
	if bn == nil {
		return w, nil
	}
	var t [4][]float32 // γ, β, mean, variance
	for i := range t {
		e, err := x.entry(bn.In[1+i])
		if err != nil {
			return nil, err
		}
		t[i] = e.Data
	}
	eps := float64(bn.Op.(engine.BatchNorm).Eps)
	if w.factor, w.bias, err = layers.BatchNormFactors(eps, t[0], t[1], t[2], t[3], w.bias); err != nil {
		return nil, fmt.Errorf("BatchNorm %s: %w; keep the BatchNorm", nodeName(bn), err)
	}
	return w, nil
}

// conv writes the convolution n, with bn folded in unless it is nil.
func (x *exporter) conv(n, bn *engine.Node) error {
	w, err := x.weights(n, bn)
	if err != nil {
		return err
	}
	if len(w.shape) == 2 { // PyTorch's Linear over the channels of each pixel
		w.shape = append(slices.Clone(w.shape), 1, 1)
	}
	last := n
	if bn != nil {
		last = bn
	}
	in, err := x.affine(n.In[0], w)
	if err != nil {
		return err
	}
	attrs := convAttrs(n.Op.(engine.Conv2D).Complete(), w.shape)
	x.node(node{op: "Conv", name: x.names[n.Out[0]], in: in, out: x.names[last.Out[0]], attrs: attrs})
	return nil
}

// convAttrs returns the attributes of a convolution by weights of the given shape,
// [O,I,KH,KW].
func convAttrs(op engine.Conv2D, shape []int) []attr {
	return []attr{
		intsAttr("kernel_shape", shape[2], shape[3]),
		intsAttr("strides", op.Stride[:]...),
		intsAttr("pads", op.Pad[:]...),
		intsAttr("dilations", op.Dilation[:]...),
		intAttr("group", op.Groups),
	}
}

// linear writes y = x·wᵀ + b.
func (x *exporter) linear(n *engine.Node) error {
	w, err := x.weights(n, nil)
	if err != nil {
		return err
	}
	in, err := x.affine(n.In[0], w)
	if err != nil {
		return err
	}
	out := x.names[n.Out[0]]
	name := out
	if n.Out[0] == x.logits {
		name = x.unique(nodeName(n))
	}
	x.node(node{op: "Gemm", name: name, in: in, out: out, attrs: []attr{intAttr("transB", 1)}})
	return nil
}

// batchNorm writes a BatchNormalization that is kept.
func (x *exporter) batchNorm(n *engine.Node, op engine.BatchNorm) error {
	if op.Train {
		return fmt.Errorf("a BatchNorm in training has no form in ONNX here")
	}
	in := []string{x.read(n.In[0])}
	for _, v := range n.In[1:] {
		e, err := x.entry(v)
		if err != nil {
			return err
		}
		in = append(in, x.float(e.Name, e.Shape, e.Data...))
	}
	name := x.names[n.Out[0]]
	x.node(node{op: "BatchNormalization", name: name, in: in, out: name, attrs: []attr{
		floatAttr("epsilon", op.Eps), floatAttr("momentum", 1-op.Momentum),
	}})
	return nil
}

// affine writes weights and bias, and returns the inputs of the node that
// applies them to v.
func (x *exporter) affine(v *engine.Value, w *weights) ([]string, error) {
	in := []string{x.read(v)}
	if w.factor != nil {
		for _, v := range w.folded() {
			if !finite(v) {
				return nil, fmt.Errorf("tensor %s is beyond float32 with its BatchNorm folded in; keep the BatchNorm", w.name)
			}
		}
	}
	switch {
	case w.fake != nil:
		names, err := x.quantized(w, v)
		return append(in, names...), err
	case x.o.Int8 == Weights8:
		name, err := x.codes(w)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", w.name, err)
		}
		in = append(in, name)
	default:
		in = append(in, x.float(w.name, w.shape, w.folded()...))
	}
	if w.bias != nil {
		in = append(in, x.float(w.biasName, []int{len(w.bias)}, w.bias...))
	}
	return in, nil
}

// codes writes the codes of w, as the checkpoint has them, and what decodes
// them, and returns the decoded tensor's name:
//
//	w' = s·q + lo    s = |f|·(hi-lo)/255
//
// where f is the folded BatchNorm's factor. If it is negative, the range is
// that from f·hi to f·lo and the codes are 255-q.
func (x *exporter) codes(w *weights) (string, error) {
	o, each := w.channels()
	codes, ranges, err := w.eight()
	if err != nil {
		return "", err
	}
	scale, offset := make([]float32, o), make([]float32, o)
	for c := range o {
		r, f := c*(len(ranges)/2)/o, 1.0
		if w.factor != nil {
			f = w.factor[c]
		}
		low, high := ranges[2*r], ranges[2*r+1]
		scale[c], offset[c] = float32((high-low)/255*math.Abs(f)), float32(low*f)
		switch {
		case scale[c] == 0:
			scale[c] = 1 // a scale of nothing is refused by some
			clear(codes[c*each : (c+1)*each])
		case f < 0:
			offset[c] = float32(high * f)
			for i := c * each; i < (c+1)*each; i++ {
				codes[i] = 255 - codes[i]
			}
		}
	}
	wide := make([]int, len(w.shape)) // [O,1,1,1], of each channel
	for i := range wide {
		wide[i] = 1
	}
	wide[0] = o
	name := x.unique(w.name)
	cast, scaled := x.unique(name+".cast"), x.unique(name+".scaled")
	x.node(node{op: "Cast", name: cast, in: []string{x.tensor(name+".codes", typeUint8, w.shape, codes)}, out: cast, attrs: []attr{intAttr("to", typeFloat)}})
	x.node(node{op: "Mul", name: scaled, in: []string{cast, x.float(name+".scale", wide, scale...)}, out: scaled})
	x.node(node{op: "Add", name: name, in: []string{scaled, x.float(name+".offset", wide, offset...)}, out: name})
	return name, nil
}

// eight returns the 8-bit codes of w and their ranges, (min, max) after (min,
// max): those that the checkpoint stores, or else a range an output channel.
func (w *weights) eight() (codes []byte, ranges []float64, err error) {
	if c := w.codes; c != nil && c.Encoding.Rule == layers.MinMax && c.Encoding.Bits == 8 {
		return bytes.Clone(c.Bytes), c.Ranges, nil
	}
	o, _ := w.channels()
	codes, lo, hi, err := affine.EncodeChannels8(w.data, o)
	for i := range lo {
		ranges = append(ranges, float64(lo[i]), float64(hi[i]))
	}
	return codes, ranges, err
}

// tensor adds an initializer and returns its name.
func (x *exporter) tensor(name string, dtype int64, shape []int, raw []byte) string {
	name = x.unique(name)
	x.tensors = append(x.tensors, tensor{name, dtype, shape, raw})
	return name
}

// float adds a float32 initializer.
func (x *exporter) float(name string, shape []int, values ...float32) string {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return x.tensor(name, typeFloat, shape, raw)
}
