package onnx

import (
	"math"
	"strconv"

	"github.com/potstill/potstill/engine"
)

// scalar returns the name of a constant, which is written once.
func (x *exporter) scalar(v float32) string {
	name, ok := x.scalars[v]
	if !ok {
		name = x.float("constant_"+strconv.FormatFloat(float64(v), 'g', -1, 32), nil, v)
		x.scalars[v] = name
	}
	return name
}

// sameInONNX are the activations that are one operator of ONNX without attributes.
var sameInONNX = map[engine.Func]string{
	engine.FuncIdentity: "Identity", engine.FuncReLU: "Relu", engine.FuncHardSwish: "HardSwish", engine.FuncAbs: "Abs",
	engine.FuncNeg: "Neg", engine.FuncReciprocal: "Reciprocal", engine.FuncSqrt: "Sqrt", engine.FuncSoftsign: "Softsign",
	engine.FuncExp: "Exp", engine.FuncSELU: "Selu", engine.FuncSigmoid: "Sigmoid", engine.FuncTanh: "Tanh",
	engine.FuncLog: "Log", engine.FuncErf: "Erf",
}

// activation writes f. What the operator set that is written does not have, as
// SiLU (set 24), GELU (20) and Mish (18), is written in several operators.
func (x *exporter) activation(n *engine.Node, f engine.Act) {
	if op := sameInONNX[f.Fn]; op != "" {
		x.emit(n, op)
		return
	}
	in := x.inputs1(n)
	last := func(op string, in ...string) {
		name := x.names[n.Out[0]]
		x.node(node{op: op, name: name, in: in, out: name})
	}
	step := func(what, op string, in ...string) string { return x.then(n.Out[0], what, op, in) }
	switch f.Fn {
	case engine.FuncReLU6:
		if x.bounds == nil {
			x.bounds = []string{x.float("relu6.min", nil, 0), x.float("relu6.max", nil, 6)}
		}
		last("Clip", in, x.bounds[0], x.bounds[1])
	case engine.FuncClip:
		last("Clip", in, x.bound(f.A), x.bound(f.B))
	case engine.FuncLeakyReLU:
		x.emit(n, "LeakyRelu", floatAttr("alpha", f.A))
	case engine.FuncThresholdedReLU:
		x.emit(n, "ThresholdedRelu", floatAttr("alpha", f.A))
	case engine.FuncHardSigmoid:
		x.emit(n, "HardSigmoid", floatAttr("alpha", f.A), floatAttr("beta", f.B))
	case engine.FuncELU:
		x.emit(n, "Elu", floatAttr("alpha", f.A))
	case engine.FuncCELU:
		x.emit(n, "Celu", floatAttr("alpha", f.A))
	case engine.FuncPow:
		last("Pow", in, x.scalar(f.A))
	case engine.FuncSiLU:
		last("Mul", in, step(".sigmoid", "Sigmoid", in))
	case engine.FuncMish:
		last("Mul", in, step(".tanh", "Tanh", step(".softplus", "Softplus", in)))
	case engine.FuncGELU:
		y := step(".erf", "Erf", step(".scaled", "Mul", in, x.scalar(math.Sqrt2/2)))
		last("Mul", step(".half", "Mul", in, x.scalar(0.5)), step(".plus1", "Add", y, x.scalar(1)))
	case engine.FuncGELUTanh:
		y := step(".cubed", "Mul", step(".squared", "Mul", in, in), in)
		y = step(".inner", "Add", in, step(".small", "Mul", y, x.scalar(0.044715)))
		y = step(".tanh", "Tanh", step(".scaled", "Mul", y, x.scalar(float32(math.Sqrt(2/math.Pi)))))
		last("Mul", step(".half", "Mul", in, x.scalar(0.5)), step(".plus1", "Add", y, x.scalar(1)))
	case engine.FuncSoftplus:
		x.softplus(n, f)
	}
}

// bound returns the name of a bound of Clip, empty where it is infinite.
func (x *exporter) bound(b float32) string {
	if math.IsInf(float64(b), 0) {
		return ""
	}
	return x.scalar(b)
}

// softplus writes log(1+e^(β·x))/β, and x where β·x is above the threshold, unless
// that makes no difference in float32: from 18 on.
func (x *exporter) softplus(n *engine.Node, f engine.Act) {
	const far = 18
	v := n.Out[0]
	name, in := x.names[v], x.inputs1(n)
	scaled := in
	if f.A != 1 {
		scaled = x.then(v, ".scaled", "Mul", []string{in, x.scalar(f.A)})
	}
	nodes := []node{{op: "Softplus", in: []string{scaled}}}
	if f.A != 1 {
		nodes = append(nodes, node{op: "Div", in: []string{"", x.scalar(f.A)}})
	}
	if f.B < far {
		above := x.then(v, ".above", "Greater", []string{scaled, x.scalar(f.B)})
		nodes = append(nodes, node{op: "Where", in: []string{above, in, ""}})
	}
	before := ""
	for i, m := range nodes {
		for k, s := range m.in {
			if s == "" {
				m.in[k] = before
			}
		}
		m.out = name
		if i < len(nodes)-1 {
			m.out = x.unique(name + ".softplus")
		}
		m.name, before = m.out, m.out
		x.node(m)
	}
}
