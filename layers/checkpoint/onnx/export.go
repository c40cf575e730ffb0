package onnx

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// An exporter translates a net into nodes and tensors of ONNX.
type exporter struct {
	*net
	o        Options
	arch     layers.Arch
	model    *layers.Net
	size     int
	metadata [][2]string
	entries  map[*engine.Variable]*layers.Entry
	// pending holds the convolutions that wait for the BatchNorm to fold.
	pending map[*engine.Value]*engine.Node
	// reads names the tensors from which quantized values are read.
	reads map[*engine.Value]string
	// steps are the codings of values, quantizers those that quantizers make.
	steps      map[*engine.Value]step
	quantizers map[*engine.Node]step
	// stems are those that convolutions begin; written are the nodes that have been
	// written with an earlier one.
	stems   map[*engine.Node]*stem
	written map[*engine.Node]bool
	// bounds are the names of the ends of ReLU6, once there is one.
	bounds []string
	// scalars are the names of the constants that there are already.
	scalars map[float32]string
	nodes   []node
	tensors []tensor
}

// export translates the model of c.
func export(c *checkpoint.Checkpoint, o Options) (*exporter, error) {
	c, err := prepared(c, o)
	if err != nil {
		return nil, err
	}
	m, err := c.Net.Model()
	if err != nil {
		return nil, err
	}
	return exportModel(m, c, o)
}

// exportModel translates m with the state of c.
func exportModel(m *layers.Model, c *checkpoint.Checkpoint, o Options) (*exporter, error) {
	if o.Int8 > Weights8 {
		return nil, fmt.Errorf("unknown choice %d of what is written in 8 bits", o.Int8)
	}
	if err := check(c, m); err != nil {
		return nil, err
	}
	size, err := imageSize(c.Preprocess, o)
	if err != nil {
		return nil, err
	}
	n, err := newNet(m, 1, size)
	if err != nil {
		return nil, err
	}
	x := &exporter{
		net: n, o: o, arch: m.Arch(), model: m.Net(), size: size,
		entries:    make(map[*engine.Variable]*layers.Entry),
		pending:    make(map[*engine.Value]*engine.Node),
		reads:      make(map[*engine.Value]string),
		steps:      make(map[*engine.Value]step),
		quantizers: make(map[*engine.Node]step),
		stems:      make(map[*engine.Node]*stem),
		written:    make(map[*engine.Node]bool),
		scalars:    make(map[float32]string),
	}
	if x.metadata, err = describe(c, x.arch, o); err != nil {
		return nil, err
	}
	for _, slot := range m.Slots() {
		x.entries[slot.Variable] = c.State.Find(slot.Variable.Name)
	}
	for _, node := range n.graph.Nodes() {
		if err := x.translate(node); err != nil {
			return nil, fmt.Errorf("%s: %w", nodeName(node), err)
		}
	}
	return x, nil
}

// translate writes one operator.
func (x *exporter) translate(n *engine.Node) (err error) {
	if x.written[n] {
		return nil
	}
	switch op := n.Op.(type) {
	case engine.Conv2D:
		if op.Epilogue != (engine.Epilogue{}) {
			return fmt.Errorf("an epilogue has no form in ONNX")
		}
		if s := x.stems[n]; s != nil {
			return x.writeStem(n, s)
		}
		if x.folds(n) {
			x.pending[n.Out[0]] = n
			return nil
		}
		err = x.conv(n, nil)
	case engine.FakeQuant:
		return x.fakeQuant(n)
	case engine.BatchNorm:
		if conv := x.pending[n.In[0]]; conv != nil {
			err = x.conv(conv, n)
		} else {
			err = x.batchNorm(n, op)
		}
	case engine.Linear:
		err = x.linear(n)
	case engine.Activation:
		x.activation(n, op.F)
	case engine.Add:
		x.add(n, op)
	case engine.Mul:
		x.mul(n, op)
	case engine.Div:
		x.emit(n, "Div")
	case engine.Maximum:
		x.emit(n, "Max")
	case engine.Minimum:
		x.emit(n, "Min")
	case engine.ScaleShift:
		err = x.scaleShift(n, op)
	case engine.PReLU:
		err = x.prelu(n)
	case engine.Softmax:
		x.softmax(n, op)
	case engine.MaxPool2D:
		x.emit(n, "MaxPool", window(op.Window)...)
	case engine.AvgPool2D:
		include := 1
		if op.ExcludePad {
			include = 0
		}
		x.emit(n, "AveragePool", append(window(op.Window), intAttr("count_include_pad", include))...)
	case engine.AdaptiveAvgPool2D:
		x.adaptiveMean(n, op)
	case engine.GlobalAvgPool:
		err = x.globalMean(n, op)
	case engine.Pad2D:
		x.pad(n, op)
	case engine.LocalResponseNorm:
		err = x.responseNorm(n, op)
	case engine.Fill: // is written where it is read
		return nil
	case engine.Flatten:
		x.emit(n, "Flatten", intAttr("axis", 1))
	case engine.Concat:
		x.emit(n, "Concat", intAttr("axis", 1))
	case engine.Slice:
		x.slice(n, op)
	case engine.ChannelShuffle:
		x.shuffle(n, op)
	case engine.LayerNorm:
		err = x.layerNorm(n, op)
	case engine.GroupNorm:
		err = x.groupNorm(n, op)
	default:
		return fmt.Errorf("operator %s has no form in ONNX here", engine.OpName(op))
	}
	if err != nil {
		return err
	}
	x.carry(n.Out[0])
	return nil
}

// folds reports whether the convolution n goes into the BatchNorm behind it.
func (x *exporter) folds(n *engine.Node) bool {
	u := x.soleUser(n.Out[0])
	if u == nil || x.o.KeepBatchNorm {
		return false
	}
	bn, ok := u.Op.(engine.BatchNorm)
	return ok && !bn.Train && u.In[0] == n.Out[0]
}

// read returns the tensor that holds v for those who compute with it.
func (x *exporter) read(v *engine.Value) string {
	if name, ok := x.reads[v]; ok {
		return name
	}
	return x.names[v]
}

// inputs returns the tensors of a node's inputs, none of them a variable.
func (x *exporter) inputs(n *engine.Node) (names []string) {
	for _, v := range n.In {
		names = append(names, x.read(v))
	}
	return names
}

func (x *exporter) node(n node) { x.nodes = append(x.nodes, n) }

// emit writes a node without weights.
func (x *exporter) emit(n *engine.Node, op string, attrs ...attr) {
	name := x.names[n.Out[0]]
	x.node(node{op: op, name: name, in: x.inputs(n), out: name, attrs: attrs})
}

// add writes a weighted sum: a difference, or products where a weight is not 1, then
// sums of two.
func (x *exporter) add(n *engine.Node, op engine.Add) {
	name := x.names[n.Out[0]]
	terms := x.inputs(n)
	if len(terms) == 2 && op.Weight(0) == 1 && op.Weight(1) == -1 {
		x.emit(n, "Sub")
		return
	}
	for k := range terms {
		if w := op.Weight(k); w != 1 {
			factor := x.float(name+".weight", nil, w)
			out := x.unique(name + ".term")
			x.node(node{op: "Mul", name: out, in: []string{terms[k], factor}, out: out})
			terms[k] = out
		}
	}
	if len(terms) == 1 {
		x.node(node{op: "Identity", name: name, in: terms, out: name})
	}
	for k := 1; k < len(terms); k++ {
		out := name
		if k < len(terms)-1 {
			out = x.unique(name + ".sum")
		}
		x.node(node{op: "Add", name: out, in: []string{terms[0], terms[k]}, out: out})
		terms[0] = out
	}
}
