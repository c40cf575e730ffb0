package onnx

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// A stem is a convolution of few channels, as a net's first, of more than a pixel, whose quantized output a
// max pool alone reads. ONNX Runtime gathers pixels one by one for a QLinearConv of a
// number of channels that 4 does not divide, and is slow at pools of codes: the layer
// takes three times as long as in float32. So it is written in whole numbers of float32,
//
//	acc = Σ (q-z)·w + b    y = QuantizeLinear(max(acc)·m, 1, z')    m = s·sw/s'
//
// with the codes q, w and b of the image, the weights and the biases. Sums below 2²⁴
// are exact in float32, in any order, and since m > 0 the largest of rounded products
// is the rounded product of the largest: the codes are those of convolution, clamp and
// pool in integers, to the bit. The product stands between pool and quantizer because
// ONNX Runtime would else move the quantizer to before the pool, and make a
// QLinearConv of the convolution again.
type stem struct {
	fake, pool *engine.Node // the quantizer of the convolution's output, and the pool
	weights    *weights
	codes      []float32 // of the weights
	bias, m    []float32
}

const (
	stemTerms = 63      // products of a sum, at most: of more, integers are faster
	stemSum   = 1 << 24 // up to which float32 holds every integer
)

// stem returns the stem that the convolution n begins when it reads the output of the
// quantizer from; nil if it begins none.
func (x *exporter) stem(from, n *engine.Node) (*stem, error) {
	if n == nil || !unsignedBytes(from) {
		return nil, nil
	}
	op, ok := n.Op.(engine.Conv2D)
	if !ok || op.Complete().Groups != 1 {
		return nil, nil
	}
	if w := n.In[1].Shape; len(w) != 4 || w[0]*w[1] == 1 || w[2]%4 == 0 || w[0]*w[1]*w[2] > stemTerms { // HWIO
		return nil, nil
	}
	s := &stem{}
	clamp := engine.Identity
	if s.fake = x.soleUser(n.Out[0]); s.fake == nil {
		return nil, nil
	}
	if a, is := s.fake.Op.(engine.Activation); is {
		clamp, s.fake = a.F, x.soleUser(s.fake.Out[0])
	}
	if s.fake == nil || !unsignedBytes(s.fake) {
		return nil, nil
	}
	if s.pool = x.soleUser(s.fake.Out[0]); s.pool == nil || s.pool.Out[0] == x.logits {
		return nil, nil
	}
	if _, is := s.pool.Op.(engine.MaxPool2D); !is {
		return nil, nil
	}
	to, zero, err := x.coding(s.fake)
	if err != nil || !holds(clamp, to, zero) {
		return nil, err
	}
	scale, _, err := x.coding(from)
	if err != nil {
		return nil, err
	}
	if s.weights, err = x.weights(n, nil); err != nil || s.weights.fake == nil {
		return nil, err
	}
	exact, err := s.whole(x, scale, to)
	if !exact {
		s = nil
	}
	return s, err
}

// unsignedBytes reports whether a node is a quantizer of activations in uint8.
func unsignedBytes(n *engine.Node) bool {
	op, ok := n.Op.(engine.FakeQuant)
	return ok && op.Lo == 0 && op.Hi == 255 && n.In[0].Variable() == nil
}

// holds reports whether f clamps to no less than what codes can hold, so that nothing
// of it is left once its result is in codes.
func holds(f engine.Act, scale, zero float32) bool {
	if f == engine.Identity {
		return true
	}
	least, most, ok := f.Clamps()
	code := func(v float32) float64 { return math.RoundToEven(float64(v/scale)) + float64(zero) }
	return ok && code(least) <= 0 && code(most) >= 255
}

// whole sets the codes, biases and multipliers, and reports whether all sums are exact.
func (s *stem) whole(x *exporter, from, to float32) (bool, error) {
	w := s.weights
	op := w.fake.Op.(engine.FakeQuant)
	scale, err := x.entry(w.fake.In[1])
	if err != nil || op.Lo >= 0 || op.Zero {
		return false, err
	}
	o, each := w.channels()
	f := layers.Fake{Bits: codeBits(op), Signed: true, Symmetric: true}
	for _, q := range f.Round(w.data, scale.Data) {
		s.codes = append(s.codes, float32(q))
	}
	for k := range o {
		step, sum, b := from*scale.Data[k%len(scale.Data)], 0.0, 0.0
		for _, q := range s.codes[k*each : (k+1)*each] {
			sum += 255 * math.Abs(float64(q))
		}
		if w.bias != nil {
			b = math.RoundToEven(float64(w.bias[k]) / float64(step))
		}
		m := step / to
		if !(sum+math.Abs(b) < stemSum) || !(m > 0) || !finite(m) {
			return false, nil
		}
		s.bias, s.m = append(s.bias, float32(b)), append(s.m, m)
	}
	return true, nil
}

// writeStem writes the stem s, which begins with the convolution n.
func (x *exporter) writeStem(n *engine.Node, s *stem) error {
	op, from := n.Op.(engine.Conv2D).Complete(), x.steps[n.In[0]]
	to, err := x.step(s.fake)
	if err != nil {
		return err
	}
	name, pooled, one := x.names[n.Out[0]], x.names[s.pool.Out[0]], x.scalar(1)
	in := []string{
		x.then(n.In[0], ".whole", "DequantizeLinear", []string{x.read(n.In[0]), one, from.zeroName}),
		x.float(s.weights.name, s.weights.shape, s.codes...),
		x.float(s.weights.biasName, []int{len(s.bias)}, s.bias...),
	}
	x.node(node{op: "Conv", name: name, in: in, out: name, attrs: convAttrs(op, s.weights.shape)})
	largest := x.then(s.pool.Out[0], ".largest", "MaxPool", []string{name}, window(s.pool.Op.(engine.MaxPool2D).Window)...)
	m := x.float(name+".multiplier", []int{len(s.m), 1, 1}, s.m...)
	x.node(node{op: "Mul", name: pooled, in: []string{largest, m}, out: pooled})
	codes, back := x.unique(pooled+".quantized"), x.unique(pooled+".dequantized")
	x.node(node{op: "QuantizeLinear", name: codes, in: []string{pooled, one, to.zeroName}, out: codes})
	x.node(node{op: "DequantizeLinear", name: x.unique(pooled + ".dequantize"), in: []string{codes, to.scaleName, to.zeroName}, out: back})
	x.reads[s.pool.Out[0]], x.steps[s.pool.Out[0]] = back, to
	x.written[s.fake], x.written[s.pool] = true, true
	if a := s.fake.In[0].Node(); a != n {
		x.written[a] = true
	}
	return nil
}
