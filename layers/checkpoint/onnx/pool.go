package onnx

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// window returns the attributes of a pooling.
func window(w engine.Window) []attr {
	w = w.Complete()
	attrs := []attr{
		intsAttr("kernel_shape", w.Kernel[:]...),
		intsAttr("strides", w.Stride[:]...),
		intsAttr("pads", w.Pad[:]...),
	}
	if w.Dilation != engine.Both(1) {
		attrs = append(attrs, intsAttr("dilations", w.Dilation[:]...))
	}
	if w.Ceil {
		attrs = append(attrs, intAttr("ceil_mode", 1))
	}
	return attrs
}

// globalMean writes the mean over a whole picture. Where it is quantized, a pair of
// its quantizer stands before the Flatten too, which changes no code: so ONNX Runtime
// takes the mean of codes.
func (x *exporter) globalMean(n *engine.Node, op engine.GlobalAvgPool) error {
	if op.KeepDims {
		x.emit(n, "GlobalAveragePool")
		return nil
	}
	name := x.names[n.Out[0]]
	pooled := x.unique(name + ".pooled")
	x.node(node{op: "GlobalAveragePool", name: pooled, in: x.inputs(n), out: pooled})
	if u := x.soleUser(n.Out[0]); u != nil {
		if _, coded := u.Op.(engine.FakeQuant); coded {
			s, err := x.step(u)
			if err != nil {
				return err
			}
			back := x.unique(pooled + ".dequantized")
			x.through(x.unique(pooled+".quantized"), pooled, x.unique(pooled+".dequantize"), back, s)
			pooled = back
		}
	}
	x.node(node{op: "Flatten", name: name, in: []string{pooled}, out: name, attrs: []attr{intAttr("axis", 1)}})
	return nil
}

// adaptiveMean writes means of windows that overlap, which ONNX has no operator
// for, as two products of matrices: y = R·x·C, where R [OH,H] has the weights of
// the rows in each window and C [W,OW] those of the columns.
func (x *exporter) adaptiveMean(n *engine.Node, op engine.AdaptiveAvgPool2D) {
	name := x.names[n.Out[0]]
	_, h, w, _, _ := n.In[0].NHWC()
	rows := make([]float32, op.Size[0]*h)
	for i, s := range op.Spans(0, h) {
		for u := s.First; u < s.End; u++ {
			rows[i*h+u] = 1 / float32(s.Extent)
		}
	}
	cols := make([]float32, w*op.Size[1])
	for j, s := range op.Spans(1, w) {
		for v := s.First; v < s.End; v++ {
			cols[v*op.Size[1]+j] = 1 / float32(s.Extent)
		}
	}
	r, c := x.float(name+".rows", []int{op.Size[0], h}, rows...), x.float(name+".columns", []int{w, op.Size[1]}, cols...)
	half := x.unique(name + ".half")
	x.node(node{op: "MatMul", name: half, in: []string{r, x.read(n.In[0])}, out: half})
	x.node(node{op: "MatMul", name: name, in: []string{half, c}, out: name})
}

// pad writes a Pad2D.
func (x *exporter) pad(n *engine.Node, op engine.Pad2D) {
	name, p := x.names[n.Out[0]], op.Pad
	in := append(x.inputs(n), x.ints(name+".pads", 0, 0, p[0], p[1], 0, 0, p[2], p[3]))
	if op.Mode == engine.PadConstant && op.Value != 0 {
		in = append(in, x.float(name+".value", nil, op.Value))
	}
	var attrs []attr
	if op.Mode != engine.PadConstant {
		attrs = []attr{stringAttr("mode", op.Mode.String())}
	}
	x.node(node{op: "Pad", name: name, in: in, out: name, attrs: attrs})
}

// responseNorm writes a LocalResponseNorm. Of an even number of channels ONNX has
// more behind than before, and PyTorch the other way round.
func (x *exporter) responseNorm(n *engine.Node, op engine.LocalResponseNorm) error {
	if op.Size%2 == 0 {
		return fmt.Errorf("a LocalResponseNorm over %d channels has no form in ONNX; only odd numbers have", op.Size)
	}
	x.emit(n, "LRN", floatAttr("alpha", op.Alpha), floatAttr("beta", op.Beta), floatAttr("bias", op.K), intAttr("size", op.Size))
	return nil
}
