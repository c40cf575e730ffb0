package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A step is how a quantized activation is coded: a ≈ scale·(q-zero), q of 0 to
// 255, and the names of the initializers that say so.
type step struct {
	scale     float32
	zero      uint8
	scaleName string
	zeroName  string
	span      Range
}

// smallest is the least normal float32; scales are no smaller.
const smallest = 0x1p-126

// newStep returns the coding of a range, which is widened to hold 0: padding
// and ReLU's zeros then have a code of their own.
func newStep(r Range) (step, error) {
	if !finite(r.Min) || !finite(r.Max) || r.Min > r.Max {
		return step{}, fmt.Errorf("the range from %g to %g is not one of activations", r.Min, r.Max)
	}
	lo, hi := math.Min(float64(r.Min), 0), math.Max(float64(r.Max), 0)
	s := step{span: r, scale: float32(math.Max((hi-lo)/255, smallest))}
	s.zero = uint8(math.RoundToEven(math.Min(-lo/float64(s.scale), 255)))
	return s, nil
}

// pixelRange returns the least and the largest value that a pixel can have.
func pixelRange(p checkpoint.Preprocess) Range {
	if len(p.Std) == 0 {
		return Range{0, 1}
	}
	r := Range{math.MaxFloat32, -math.MaxFloat32}
	for i, s := range p.Std {
		r.Min = min(r.Min, (0-p.Mean[i])/s)
		r.Max = max(r.Max, (1-p.Mean[i])/s)
	}
	return r
}

// quantize writes v's way through 8 bits, unless it is the result or only a
// step on the way to another value.
func (x *exporter) quantize(v *engine.Value) error {
	if x.o.Int8 != QDQ || v == x.logits || x.inner(v) {
		return nil
	}
	name := x.names[v]
	s, err := x.step(v)
	if err != nil {
		return err
	}
	if s.scaleName == "" {
		s.scaleName = x.float(name+".scale", nil, s.scale)
		s.zeroName = x.tensor(name+".zero_point", typeUint8, nil, []byte{s.zero})
	}
	x.steps[v] = s
	codes, back := x.unique(name+".quantized"), x.unique(name+".dequantized")
	x.node(node{op: "QuantizeLinear", name: codes, in: []string{name, s.scaleName, s.zeroName}, out: codes})
	x.node(node{op: "DequantizeLinear", name: back, in: []string{codes, s.scaleName, s.zeroName}, out: back})
	x.reads[v] = back
	return nil
}

// step returns the coding of v: its input's, where its values are among those;
// that of a range that is known; or that of the calibrated range.
func (x *exporter) step(v *engine.Value) (step, error) {
	if v == x.input {
		return newStep(x.pixels)
	}
	n := v.Node()
	before, quantized := x.steps[n.In[0]]
	average := false
	switch op := n.Op.(type) {
	case engine.Activation:
		if r, ok := rangeOf(op.F); ok {
			return newStep(r)
		}
	case engine.Softmax:
		if !op.Log {
			return newStep(Range{0, 1})
		}
	case engine.MaxPool2D, engine.AdaptiveMaxPool2D, engine.Flatten, engine.Slice, engine.ChannelShuffle:
		if quantized {
			return before, nil
		}
	case engine.GlobalAvgPool, engine.AvgPool2D, engine.AdaptiveAvgPool2D:
		average = quantized
	}
	r, ok := x.o.Calibration[x.names[v]]
	if !ok && average {
		r, ok = before.span, true
	}
	if !ok {
		return step{}, fmt.Errorf("the range of %q is not known; calibrate the model on some images", x.names[v])
	}
	return newStep(r)
}

// rangeOf returns the values that f can have, if they are bounded.
func rangeOf(f engine.Act) (Range, bool) {
	if least, most, ok := f.Clamps(); ok {
		return Range{least, most}, finite(least) && finite(most)
	}
	switch f.Fn {
	case engine.FuncSigmoid, engine.FuncHardSigmoid:
		return Range{0, 1}, true
	case engine.FuncTanh, engine.FuncSoftsign, engine.FuncErf:
		return Range{-1, 1}, true
	}
	return Range{}, false
}

// symmetric writes the folded weights as int8 codes around 0, a scale for each
// output channel, and the bias as int32 on the scale of the products with
// activations of the given scale. It returns the names of the decoded tensors.
//
// A channel's scale is large enough for its bias to have an int32 code.
func (x *exporter) symmetric(w *weights, activation float32) ([]string, error) {
	o, each := w.channels()
	data := w.folded()
	codes, scales := make([]byte, len(data)), make([]float32, o)
	for c := range o {
		largest, least := 0.0, 0.0
		for _, v := range data[c*each : (c+1)*each] {
			largest = max(largest, math.Abs(float64(v)))
		}
		if w.bias != nil {
			least = math.Abs(float64(w.bias[c])) / (float64(activation) * (1 << 30))
		}
		s := max(float32(largest/127), float32(least), smallest/activation, smallest)
		for i := c * each; i < (c+1)*each; i++ {
			q := math.RoundToEven(float64(data[i]) / float64(s))
			codes[i] = byte(int8(max(-127, min(127, q))))
		}
		if !finite(s * activation) {
			return nil, fmt.Errorf("tensor %s: products of weights up to %g and inputs up to %g are beyond float32", w.name, largest, 255*float64(activation))
		}
		scales[c] = s
	}
	name := x.unique(w.name)
	names := []string{x.dequantized(name, typeInt8, w.shape, codes, scales)}
	if w.bias == nil {
		return names, nil
	}
	raw := make([]byte, 0, 4*o)
	for c := range scales {
		scales[c] *= activation
		q := math.RoundToEven(float64(w.bias[c]) / float64(scales[c]))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(q)))
	}
	bias := x.unique(w.biasName)
	return append(names, x.dequantized(bias, typeInt32, []int{o}, raw, scales)), nil
}

// dequantized writes codes around zero, their scales and the node that decodes
// them to the tensor of the given name, which it returns.
func (x *exporter) dequantized(name string, dtype int64, shape []int, codes []byte, scales []float32) string {
	o := len(scales)
	size := len(codes) / max(product(shape), 1)
	in := []string{
		x.tensor(name+".codes", dtype, shape, codes),
		x.float(name+".scale", []int{o}, scales...),
		x.tensor(name+".zero_point", dtype, []int{o}, make([]byte, o*size)),
	}
	x.node(node{op: "DequantizeLinear", name: name, in: in, out: name, attrs: []attr{intAttr("axis", 0)}})
	return name
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
