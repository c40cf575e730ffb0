package layers

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

// integer computes a module on codes, or says why it cannot be.
func (x *integrator) integer(m *Module) (why string) {
	op, sole := x.soleOp(m)
	if !sole {
		return "it is no operator that there is in integers"
	}
	in, codes := make([]string, len(m.In)), make([]engine.Codes, len(m.In))
	for k := range m.In {
		var ok bool
		if op == nil {
			break
		}
		if in[k], codes[k], ok = x.input(m, k); !ok {
			return "what it reads has no quantizer"
		}
	}
	switch op := op.(type) {
	case nil:
		return x.identity(m)
	case engine.Conv2D, engine.Linear:
		return x.product(m, op, in[0], codes[0])
	case engine.Activation:
		to, ok := x.quantizer(m, FakeOutput)
		if !ok {
			return "its output has no quantizer"
		}
		x.set(m, x.recode(m.Name, in[0], codes[0], to, op.F), to)
	case engine.Add, engine.Mul:
		return x.pair(m, op, in, codes)
	case engine.Concat:
		return x.concat(m, in, codes)
	case engine.Flatten:
		return x.moved(m, x.op(m.Name, engine.QFlatten{}, in[0]), codes[0])
	case engine.MaxPool2D:
		return x.moved(m, x.op(m.Name, engine.QMaxPool2D(op), in[0]), codes[0])
	case engine.AvgPool2D, engine.GlobalAvgPool:
		return x.mean(m, op, in[0], codes[0])
	case engine.Slice, engine.ChannelShuffle, engine.AdaptiveMaxPool2D:
		if _, ok := m.Fake[FakeOutput]; !ok {
			x.through(m, codes[0])
			return ""
		}
		return "there is no " + engine.OpName(op) + " in integers"
	default:
		return "there is no " + engine.OpName(op) + " in integers"
	}
	return ""
}

// through computes a module that gives its input's numbers other places in float32,
// from and to the same codes.
func (x *integrator) through(m *Module, c engine.Codes) {
	x.left = append(x.left, m.Name+": it moves numbers, which changes none of them")
	x.keep(m)
	v := x.values[m.Name]
	v.c, v.codes = c, x.op(m.Name+".quantize", engine.Quantize{Y: c}, v.float)
}

// moved notes the output of a module that leaves codes as they are.
func (x *integrator) moved(m *Module, name string, c engine.Codes) string {
	if to, ok := x.quantizer(m, FakeOutput); ok {
		name, c = x.recode(m.Name+".requantize", name, c, to, engine.Identity), to
	}
	x.set(m, name, c)
	return ""
}

// identity passes a value on, whose codes may be made or changed.
func (x *integrator) identity(m *Module) string {
	if _, ok := m.Fake[FakeInput]; ok {
		name, c, _ := x.input(m, 0)
		return x.moved(m, name, c)
	}
	v := x.values[m.In[0]]
	if v.codes != "" {
		return x.moved(m, v.codes, v.c)
	}
	c, ok := x.quantizer(m, FakeOutput)
	if !ok {
		x.values[m.Name] = v
		return ""
	}
	x.set(m, x.op(m.Name, engine.Quantize{Y: c}, v.float), c)
	return ""
}

// pair is a sum or a product of two values.
func (x *integrator) pair(m *Module, op engine.Op, in []string, codes []engine.Codes) string {
	to, at, ok := x.destination(m)
	switch {
	case len(in) != 2:
		return "it has more than two inputs"
	case !ok:
		return "its output has no quantizer"
	}
	if add, is := op.(engine.Add); is {
		if add.Weights != nil {
			return "it is a difference"
		}
		x.set(at, x.op(at.Name, engine.QAdd{A: codes[0], B: codes[1], Y: to}, in...), to)
		x.skip(m, at)
		return ""
	}
	a, b := x.shapes[m.In[0]], x.shapes[m.In[1]]
	if b.Len() > a.Len() {
		a, b, in[0], in[1], codes[0], codes[1] = b, a, in[1], in[0], codes[1], codes[0]
	}
	a.DType, b.DType = engine.Uint8, engine.Uint8
	product := engine.QMul{A: codes[0], B: codes[1], Y: to}
	if product.Each(a, b) == 0 {
		return "its factors are not of each channel"
	}
	x.set(at, x.op(at.Name, product, in...), to)
	x.skip(m, at)
	return ""
}

// skip marks a module whose value nothing but the next one reads.
func (x *integrator) skip(m, at *Module) {
	if m != at {
		x.values[m.Name] = &coded{}
	}
}

// concat brings all inputs to the codes of the output.
func (x *integrator) concat(m *Module, in []string, codes []engine.Codes) string {
	to, ok := x.quantizer(m, FakeOutput)
	if !ok {
		to = codes[0]
		for _, c := range codes {
			if c.Scale != to.Scale || c.Zero != to.Zero {
				return "its output has no quantizer, and its inputs have several"
			}
			to.Lo, to.Hi = min(to.Lo, c.Lo), max(to.Hi, c.Hi)
		}
	}
	for k := range in {
		in[k] = x.recode(m.Name+".requantize", in[k], codes[k], to, engine.Identity)
	}
	x.set(m, x.op(m.Name, engine.QConcat{}, in...), to)
	return ""
}

func (x *integrator) mean(m *Module, op engine.Op, in string, c engine.Codes) string {
	to, ok := x.quantizer(m, FakeOutput)
	if !ok {
		return "its output has no quantizer"
	}
	switch op := op.(type) {
	case engine.AvgPool2D:
		in = x.op(m.Name, engine.QAvgPool2D{Pool: op, X: c, Y: to}, in)
	case engine.GlobalAvgPool:
		in = x.op(m.Name, engine.QGlobalAvgPool{KeepDims: op.KeepDims, X: c, Y: to}, in)
	}
	x.set(m, in, to)
	return ""
}

// product is a convolution or a linear layer, with the clamp behind it.
func (x *integrator) product(m *Module, op engine.Op, in string, c engine.Codes) string {
	q, ok := x.quantizers[[2]string{m.Name, FakeWeight}]
	switch {
	case !ok:
		return "its weight has no quantizer"
	case !q.Signed || !q.Symmetric:
		return "the quantizer of its weight has a zero point"
	}
	to, at, isCoded := x.destination(m)
	if !isCoded {
		to, at = engine.Codes{Scale: 1, Hi: 255}, m
	}
	w, b, mult, err := x.weights(m, &q, c.Scale, to.Scale)
	if err != nil {
		return err.Error()
	}
	k := Integer{inputs: 1}
	switch op := op.(type) {
	case engine.Conv2D:
		k.Op = engine.QConv2D{Conv2D: op, X: c, Y: to, Float: !isCoded}
	case engine.Linear:
		k.Op = engine.QLinear{X: c, Y: to, Float: !isCoded}
	}
	p, _ := m.weight()
	o := p.Spec.Shape[len(p.Spec.Shape)-1]
	k.Tensors = []Param{
		{Role: "weight", Spec: engine.Spec{Shape: p.Spec.Shape, DType: engine.Int8}, Layout: p.Layout},
		{Role: "bias", Spec: engine.Spec{Shape: []int{o}, DType: engine.Int32}},
		{Role: "multiplier", Spec: engine.F32(o)},
	}
	name := x.add(at.Name, k, in)
	for i, e := range []*Entry{w, b, mult} {
		e.Name = name + "." + k.Tensors[i].Role
		x.entries = append(x.entries, *e)
	}
	x.skip(m, at)
	if isCoded {
		x.set(at, name, to)
	} else {
		x.values[m.Name] = &coded{float: name}
	}
	return ""
}

// weights returns a layer's weight and bias in integers and its multipliers.
func (x *integrator) weights(m *Module, q *Quantizer, from, to float32) (w, b, mult *Entry, err error) {
	e := x.state.Find(m.Tensor(FakeWeight))
	w = &Entry{Shape: e.Shape, Int: make([]int64, len(e.Data))}
	for i, v := range q.Round(e.Data, q.Scale) {
		w.Int[i] = int64(v)
	}
	o := e.Shape[0]
	b, mult = &Entry{Shape: []int{o}, Int: make([]int64, o)}, &Entry{Shape: []int{o}, Data: make([]float32, o)}
	bias := x.state.Find(m.Tensor("bias"))
	for k := range o {
		step := float32(from * q.Scale[k%len(q.Scale)])
		mult.Data[k] = step / to
		if bias != nil && slices.ContainsFunc(m.Kind.Params(), func(p Param) bool { return p.Role == "bias" }) {
			v := math.RoundToEven(float64(bias.Data[k]) / float64(step))
			if !(math.Abs(v) <= 1<<30) {
				return nil, nil, nil, fmt.Errorf("its bias %d is %g, which is more than 2³⁰ steps of %g", k, bias.Data[k], step)
			}
			b.Int[k] = int64(v)
		}
		if v := mult.Data[k]; !(v > 0) || !finite(v) {
			return nil, nil, nil, fmt.Errorf("the multiplier of its channel %d is %g", k, v)
		}
	}
	return w, b, mult, nil
}
