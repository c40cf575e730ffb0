package onnx

import (
	"github.com/potstill/potstill/engine"
)

// mul writes a product. A factor [N,C] stands beside an image as [N,C,1,1].
func (x *exporter) mul(n *engine.Node, op engine.Mul) {
	in, name := x.inputs(n), x.names[n.Out[0]]
	if op.Broadcast(n.In[0].Spec, n.In[1].Spec) == engine.OverPixels && len(n.In[1].Shape) == 2 {
		in[1] = x.then(n.Out[0], ".factor", "Unsqueeze", []string{in[1], x.ints(name+".axes", 2, 3)})
	}
	x.node(node{op: "Mul", name: name, in: in, out: name})
}

// perChannel writes a vector of channels beside v, [C,1,1] or [C], and returns its name.
func (x *exporter) perChannel(v, vector *engine.Value) (string, error) {
	e, err := x.entry(vector)
	if err != nil {
		return "", err
	}
	shape := []int{len(e.Data)}
	if len(v.Shape) == 4 {
		shape = append(shape, 1, 1)
	}
	return x.float(e.Name, shape, e.Data...), nil
}

// scaleShift writes a product and a sum with vectors of channels.
func (x *exporter) scaleShift(n *engine.Node, op engine.ScaleShift) error {
	v, y := n.Out[0], x.inputs1(n)
	name := x.names[v]
	vectors := make([]string, len(n.In)-1)
	for i := range vectors {
		var err error
		if vectors[i], err = x.perChannel(v, n.In[1+i]); err != nil {
			return err
		}
	}
	switch {
	case op.Scale && op.Shift:
		y = x.then(v, ".scaled", "Mul", []string{y, vectors[0]})
		x.node(node{op: "Add", name: name, in: []string{y, vectors[1]}, out: name})
	case op.Scale:
		x.node(node{op: "Mul", name: name, in: []string{y, vectors[0]}, out: name})
	default:
		x.node(node{op: "Add", name: name, in: []string{y, vectors[0]}, out: name})
	}
	return nil
}

// prelu writes a PReLU.
func (x *exporter) prelu(n *engine.Node) error {
	w, err := x.perChannel(n.Out[0], n.In[1])
	name := x.names[n.Out[0]]
	x.node(node{op: "PRelu", name: name, in: []string{x.inputs1(n), w}, out: name})
	return err
}

// softmax writes a Softmax over the channels or its logarithm.
func (x *exporter) softmax(n *engine.Node, op engine.Softmax) {
	name := "Softmax"
	if op.Log {
		name = "LogSoftmax"
	}
	x.emit(n, name, intAttr("axis", 1))
}
