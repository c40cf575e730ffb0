package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A step is how a quantized activation is coded: the names of its scale and of its
// zero point, and the scale.
type step struct {
	scale               float32
	scaleName, zeroName string
}

// prepared returns the model as it is written: for QDQ with batch norms folded, so that
// its quantizers are those of what is computed; else without quantizers, with the
// weights that their codes stand for.
func prepared(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, error) {
	any, integers := c.Net.Quantized()
	switch {
	case o.Int8 == QDQ && !integers:
		return nil, fmt.Errorf("the model has no ranges of activations, which a file in 8 bits needs; make one that has them with potstill quantize --scheme int8 --calibrate")
	case o.Int8 == QDQ:
		if o.KeepBatchNorm {
			return nil, fmt.Errorf("a file in 8 bits has its batch norms folded; keep them in a file of another format")
		}
		return rewritten(c, layers.FoldBatchNorm)
	case any:
		return rewritten(c, layers.WithoutFakes)
	}
	return c, nil
}

// rewritten is Checkpoint.Rewrite that keeps the metrics, which describe the file.
func rewritten(c *checkpoint.Checkpoint, r layers.Rewrite) (*checkpoint.Checkpoint, error) {
	out, err := c.Rewrite(r)
	if err != nil {
		return nil, err
	}
	out.Metrics = c.Metrics
	return out, nil
}

// fakeQuant writes a quantizer of an activation as a pair of nodes, or its first half
// where a stem reads the codes. Those of weights are written with what reads these.
func (x *exporter) fakeQuant(n *engine.Node) error {
	v := n.In[0]
	if v.Variable() != nil {
		return nil
	}
	s, err := x.step(n)
	if err != nil {
		return err
	}
	conv := x.soleUser(n.Out[0])
	stem, err := x.stem(n, conv)
	switch {
	case err != nil:
		return err
	case stem == nil:
		x.pair(v, n.Out[0], s)
		return nil
	}
	codes := x.unique(x.names[v] + ".quantized")
	x.node(node{op: "QuantizeLinear", name: codes, in: []string{x.read(v), s.scaleName, s.zeroName}, out: codes})
	x.reads[n.Out[0]], x.steps[n.Out[0]], x.stems[conv] = codes, s, stem
	return nil
}

// coding returns the scale and the zero point of a quantizer of an activation.
func (x *exporter) coding(n *engine.Node) (scale, zero float32, err error) {
	s, err := x.entry(n.In[1])
	if err != nil {
		return 0, 0, err
	}
	if n.Op.(engine.FakeQuant).Zero {
		z, err := x.entry(n.In[2])
		if err != nil {
			return 0, 0, err
		}
		zero = z.Data[0]
	}
	return s.Data[0], zero, nil
}

// step writes scale and zero point of a quantizer of an activation, unless they have
// been written.
func (x *exporter) step(n *engine.Node) (step, error) {
	if s, ok := x.quantizers[n]; ok {
		return s, nil
	}
	op := n.Op.(engine.FakeQuant)
	scale, zero, err := x.coding(n)
	if err != nil {
		return step{}, err
	}
	dtype := int64(typeUint8)
	switch {
	case op.Hi-op.Lo != 255:
		return step{}, fmt.Errorf("values in codes of fewer than 8 bits have no form in ONNX here")
	case op.Lo < 0:
		dtype = typeInt8
	}
	name := x.names[n.In[0]]
	s := step{scale: scale, scaleName: x.float(name+".scale", nil, scale)}
	s.zeroName = x.tensor(name+".zero_point", dtype, nil, []byte{byte(int32(zero))})
	x.quantizers[n] = s
	return s, nil
}

// pair writes the way of v through codes; out is read behind it.
func (x *exporter) pair(v, out *engine.Value, s step) {
	name := x.names[v]
	codes, back := x.unique(name+".quantized"), outputName
	if out != x.logits {
		back = x.unique(name + ".dequantized")
	}
	x.through(codes, x.read(v), x.unique(name+".dequantize"), back, s)
	x.reads[out], x.steps[out] = back, s
}

// through writes the way of a tensor through codes, which has the given names, to a
// tensor of the name back.
func (x *exporter) through(codes, from, name, back string, s step) {
	x.node(node{op: "QuantizeLinear", name: codes, in: []string{from, s.scaleName, s.zeroName}, out: codes})
	x.node(node{op: "DequantizeLinear", name: name, in: []string{codes, s.scaleName, s.zeroName}, out: back})
}

// carry writes a pair behind an operator that moves or chooses among numbers of one
// coding and has no quantizer of its own, so that ONNX Runtime computes it, and what
// reads it, in integers.
func (x *exporter) carry(v *engine.Value) {
	n := v.Node()
	if x.o.Int8 != QDQ || v == x.logits || n == nil || len(n.In) == 0 {
		return
	}
	switch n.Op.(type) {
	case engine.MaxPool2D, engine.AdaptiveMaxPool2D, engine.Flatten, engine.Slice, engine.ChannelShuffle, engine.Concat:
	default:
		return
	}
	s, ok := x.steps[n.In[0]]
	for _, in := range n.In {
		ok = ok && x.steps[in] == s
	}
	for _, u := range x.uses[v] {
		_, own := u.Op.(engine.FakeQuant)
		ok = ok && !own
	}
	if ok {
		x.pair(v, v, s)
	}
}

// quantized writes weights in the codes of their quantizer, and the bias, where what
// is multiplied has a scale, as int32 on the scale of the products. It returns the
// names of the decoded tensors.
func (x *exporter) quantized(w *weights, v *engine.Value) ([]string, error) {
	op := w.fake.Op.(engine.FakeQuant)
	scale, err := x.entry(w.fake.In[1])
	if err != nil {
		return nil, err
	}
	if op.Lo >= 0 || op.Zero {
		return nil, fmt.Errorf("tensor %s: a quantizer of a weight with a zero point has no form in ONNX here", w.name)
	}
	f := layers.Fake{Bits: codeBits(op), Signed: true, Symmetric: true}
	raw := layers.PackCodes(f.Round(w.data, scale.Data), 8)
	name := x.unique(w.name)
	names := []string{x.dequantized(name, typeInt8, w.shape, raw, scale.Data)}
	if w.bias == nil {
		return names, nil
	}
	s, ok := x.steps[v]
	if !ok {
		return append(names, x.float(w.biasName, []int{len(w.bias)}, w.bias...)), nil
	}
	scales := make([]float32, len(w.bias))
	codes := make([]byte, 0, 4*len(w.bias))
	for o, b := range w.bias {
		scales[o] = s.scale * scale.Data[o%len(scale.Data)]
		q := math.RoundToEven(float64(b) / float64(scales[o]))
		if !(math.Abs(q) <= 1<<30) {
			return append(names, x.float(w.biasName, []int{len(w.bias)}, w.bias...)), nil // as layers.Integers has it
		}
		codes = binary.LittleEndian.AppendUint32(codes, uint32(int32(q)))
	}
	return append(names, x.dequantized(x.unique(w.biasName), typeInt32, []int{len(w.bias)}, codes, scales)), nil
}

// codeBits returns the size of a signed quantizer's codes.
func codeBits(op engine.FakeQuant) int {
	n := 1
	for lo := op.Lo; lo < -1; lo /= 2 {
		n++
	}
	return n
}

// dequantized writes codes around zero, their scales and the node that decodes
// them to the tensor of the given name, which it returns. There is one scale, or one
// for each index of the first axis.
func (x *exporter) dequantized(name string, dtype int64, shape []int, codes []byte, scales []float32) string {
	size := len(codes) / max(product(shape), 1)
	var scaleShape []int
	var attrs []attr
	if len(scales) > 1 || shape[0] == 1 {
		scaleShape, attrs = []int{len(scales)}, []attr{intAttr("axis", 0)}
	}
	in := []string{
		x.tensor(name+".codes", dtype, shape, codes),
		x.float(name+".scale", scaleShape, scales...),
		x.tensor(name+".zero_point", dtype, scaleShape, make([]byte, len(scales)*size)),
	}
	x.node(node{op: "DequantizeLinear", name: name, in: in, out: name, attrs: attrs})
	return name
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
