package onnxnet

import (
	"context"
	"errors"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// Arithmetic says what was computed on the device for a Function.
type Arithmetic uint8

// Its values.
const (
	OnDevice   Arithmetic = iota // modules
	LayoutOnly                   // nothing: the outputs are the input with other axes
	Folded                       // nothing: all is constant, and computed by the import
)

// Evaluate computes the outputs of a model on given inputs, as the translation to
// a net computes them: what ONNX's own test cases are held to. Any output is
// taken, not logits alone, and inputs beside the first are constants, as single
// operators have their weights; or where they cannot be, parts of the image.
//
// A tensor of up to four axes is laid on batch, channels, height and width: as
// [N,C,H,W] if that can be held, else in another order. A first input of codes, of an
// operator on codes, is the image that these stand for; outputs may be codes too.
func Evaluate(ctx context.Context, b engine.Backend, m *onnxread.Model, inputs []*onnxread.Tensor) (outputs []*onnxread.Tensor, how Arithmetic, err error) {
	if len(inputs) != len(m.Inputs) {
		return nil, 0, named.Refused("", "%d inputs for a model of %d", len(inputs), len(m.Inputs))
	}
	var reason error
	for _, p := range placements(m, inputs) {
		f, err := newFunction(m, inputs, p)
		if err != nil {
			if reason == nil {
				reason = err
			}
			continue
		}
		outputs, how, err = f.run(ctx, b)
		return outputs, how, err
	}
	return nil, 0, reason
}

// A placement says which dimensions the axes of the inputs are, in their order,
// and whether all inputs are parts of one image. All are constants without axes.
type placement struct {
	dims   []dim
	packed bool
}

// placements returns those to be tried, the likeliest first.
func placements(m *onnxread.Model, inputs []*onnxread.Tensor) []placement {
	if constantInputs(m, inputs) {
		return []placement{{}}
	}
	orders := map[int][]string{
		0: {""}, 1: {"C"}, 2: {"NC", "CN", "HW"},
		3: {"NCW", "NWC", "CHW", "HWC", "WNC", "WCN", "CNW", "CWN", "HCW"},
		4: {"NCHW", "NHWC", "NHCW", "CNHW", "HNCW", "HWNC", "HWCN", "CHWN", "CHNW", "HCNW", "HNWC", "HCWN"},
	}[len(inputs[0].Shape)]
	if len(m.Nodes) > 1 {
		orders = orders[:min(len(orders), 2)]
	}
	same := len(inputs) > 1 && inputs[0].Float != nil
	for _, t := range inputs[1:] {
		same = same && t.Float != nil && slices.Equal(t.Shape, inputs[0].Shape)
	}
	var out []placement
	for _, packed := range []bool{false, true} {
		if packed && !same {
			break
		}
		for _, o := range orders {
			out = append(out, placement{[]dim(o), packed})
		}
	}
	if len(out) == 0 {
		return []placement{{}}
	}
	return out
}

// constantInputs reports whether there is no image among the inputs: numbers, or codes
// that an operator on codes reads.
func constantInputs(m *onnxread.Model, inputs []*onnxread.Tensor) bool {
	return len(inputs) == 0 || inputs[0].Float == nil && codesReader(m) == nil
}

// codesReader returns the operator on codes that reads the first input; nil if there is
// none. DequantizeLinear is not one: of constants it is folded.
func codesReader(m *onnxread.Model) *onnxread.Node {
	for _, n := range m.Nodes {
		if len(n.In) > 1 && n.In[0] == m.Inputs[0].Name {
			switch n.Op {
			case "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger":
				return n
			}
		}
	}
	return nil
}

// imageCoding returns the coding of an image of codes; nil for one of numbers.
func (f *function) imageCoding() (*coding, error) {
	if f.inputs[0].Float != nil {
		return nil, nil
	}
	n := codesReader(f.m)
	constant := func(i int) *array {
		if i < len(n.In) {
			return f.t.consts[n.In[i]]
		}
		return nil
	}
	if n.Op == "QLinearConv" || n.Op == "QLinearMatMul" {
		k, err := codingOf(constant(1), constant(2), 0)
		if err != nil {
			return nil, refused(n, err)
		}
		return k, nil
	}
	k, err := wholeCodes(constant(2))
	if err != nil {
		return nil, refused(n, err)
	}
	return k, nil
}

// A function is a model translated for given inputs.
type function struct {
	t      *translator
	m      *onnxread.Model
	inputs []*onnxread.Tensor
	p      placement
	image  *act // all of it
	parts  []*act
	outs   []value
}

// newFunction translates a model for inputs.
func newFunction(m *onnxread.Model, inputs []*onnxread.Tensor, p placement) (*function, error) {
	all := *m
	all.Constants = make(map[string]*onnxread.Tensor, len(m.Constants)+len(inputs))
	for name, t := range m.Constants {
		all.Constants[name] = t
	}
	folded := constantInputs(m, inputs)
	if !folded && len(inputs[0].Shape) != len(p.dims) {
		return nil, named.Refused("", "its input has %d axes; images of up to four are taken", len(inputs[0].Shape))
	}
	for i, t := range inputs {
		if folded || i > 0 && !p.packed {
			all.Constants[m.Inputs[i].Name] = t
		}
	}
	g, err := newGraph(&all)
	if err != nil {
		return nil, err
	}
	f := &function{t: &translator{graph: g, values: make(map[string]value)}, m: m, inputs: inputs, p: p}
	if !folded {
		if err := f.place(); err != nil {
			return nil, err
		}
	}
	if err := f.t.run(); err != nil {
		return nil, err
	}
	var acts []*act
	for _, out := range m.Outputs {
		v := f.t.values[out.Name]
		if c := g.consts[out.Name]; c != nil {
			v = value{c: c}
		}
		if v.a == nil && v.c == nil {
			return nil, named.Refused("", "its output %s is not made", named.Plain(out.Name))
		}
		if v.a != nil {
			own := *v.a
			v.a = &own
			acts = append(acts, v.a)
		}
		f.outs = append(f.outs, v)
	}
	f.t.tidy(acts)
	return f, nil
}

// place lays the inputs on an image.
func (f *function) place() error {
	size := map[dim]int{batch: 1, channel: 1, row: 1, column: 1}
	for i, d := range f.p.dims {
		size[d] = f.inputs[0].Shape[i]
		if size[d] < 1 || size[d] > 1<<14 {
			return named.Refused("", "its input of %v is empty or too large", f.inputs[0].Shape)
		}
	}
	axes := make([]axis, len(f.p.dims))
	a := &act{n: size[batch], h: size[row], w: size[column], c: size[channel]}
	for i, d := range f.p.dims {
		axes[i] = whole(d, size[d])
	}
	a.axes = axes
	var err error
	if a.coded, err = f.imageCoding(); err != nil {
		return err
	}
	f.image = a
	if !f.p.packed {
		f.parts = []*act{a}
		f.t.values[f.m.Inputs[0].Name] = value{a: a}
		return nil
	}
	all := *a
	all.c = a.c * len(f.inputs)
	f.image = &all
	for i := range f.inputs {
		part := *a
		part.from = f.t.emit(&onnxread.Node{Op: "Slice", Name: "input"}, a, "Slice", map[string]any{"start": i * a.c, "end": (i + 1) * a.c}, nil, nil)
		f.parts = append(f.parts, &part)
		f.t.values[f.m.Inputs[i].Name] = value{a: &part}
	}
	return nil
}

// run computes the outputs.
func (f *function) run(ctx context.Context, b engine.Backend) (outputs []*onnxread.Tensor, how Arithmetic, err error) {
	how = Folded
	made := make(map[*mod][]float32)
	for _, v := range f.outs {
		if v.a != nil {
			how = LayoutOnly
		}
	}
	if f.image != nil {
		made[nil] = f.pixels()
	}
	if len(f.t.mods) > 0 {
		how = OnDevice
		if err := f.compute(ctx, b, made); err != nil {
			return nil, how, err
		}
	}
	for i, v := range f.outs {
		out := &onnxread.Tensor{Name: f.m.Outputs[i].Name, DType: "float32"}
		switch {
		case v.a != nil:
			out.Shape, out.Float = v.a.shape(), v.a.read(made[v.a.from])
			if k := v.a.coded; k != nil {
				out.DType, out.Int, out.Float = k.dtype(), k.codes(out.Float), nil
			}
		case v.c.ints:
			out.DType, out.Shape = "int64", v.c.shape
			for k := range v.c.len() {
				out.Int = append(out.Int, int64(v.c.int(k)))
			}
		default:
			out.Shape = v.c.shape
			if out.Float, err = f.t.fold.whole(v.c); err != nil {
				return nil, how, err
			}
		}
		outputs = append(outputs, out)
	}
	return outputs, how, nil
}

// pixels returns the image that holds the inputs, NHWC.
func (f *function) pixels() []float32 {
	out := make([]float32, f.image.n*f.image.h*f.image.w*f.image.c)
	for i, part := range f.parts {
		values := f.inputs[i].Float
		if part.coded != nil {
			values = part.coded.numbers(f.inputs[i].Int)
		}
		for k, p := range part.places(f.image.c) {
			out[p+i*part.c] = values[k]
		}
	}
	return out
}

// places returns where the elements of the tensor, in ONNX's order, lie in a
// value of its module with so many channels.
func (a *act) places(channels int) []int {
	step := map[dim]int{channel: 1, column: channels, row: channels * a.w, batch: channels * a.w * a.h}
	var digits axis
	for _, x := range a.axes {
		digits = append(digits, x...)
	}
	out := make([]int, digits.size())
	for k := range out {
		rest := k
		for i := len(digits) - 1; i >= 0; i-- {
			d := digits[i]
			out[k] += rest % d.size * d.stride * step[d.dim]
			rest /= d.size
		}
	}
	return out
}

// read returns the tensor's elements in ONNX's order out of its module's value.
func (a *act) read(value []float32) []float32 {
	at := a.places(a.c)
	out := make([]float32, len(at))
	for k, p := range at {
		out[k] = value[p]
	}
	return out
}

// compute runs the modules and adds the outputs of those that are wanted.
func (f *function) compute(ctx context.Context, b engine.Backend, made map[*mod][]float32) (err error) {
	n, state, err := f.net()
	if err != nil {
		return err
	}
	m, err := n.Function()
	if err != nil {
		return err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := m.Load(store, state); err != nil {
		return err
	}
	builder := engine.NewBuilder(engine.NewGraph())
	x := builder.Input("image", engine.F32(f.image.n, f.image.h, f.image.w, f.image.c))
	outs := m.Build(builder, x, false)
	if err := builder.Err(); err != nil {
		return err
	}
	wanted := make(map[*mod]*engine.Value)
	var values []*engine.Value
	for _, v := range f.outs {
		if v.a != nil && v.a.from != nil && wanted[v.a.from] == nil {
			wanted[v.a.from] = outs.At(v.a.from.name)
			if w := wanted[v.a.from]; w != x && !slices.Contains(values, w) {
				values = append(values, w)
			}
		}
	}
	for mod, v := range wanted {
		if v == x { // of modules that do nothing in evaluation
			made[mod] = made[nil]
			delete(wanted, mod)
		}
	}
	if len(values) == 0 {
		return nil
	}
	p, err := builder.Graph().Compile(b, engine.Options{Store: store, Outputs: values})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Run(ctx, engine.Bindings{x: engine.Bytes(made[nil])}); err != nil {
		return err
	}
	for mod, v := range wanted {
		made[mod] = make([]float32, v.Len())
		if err := p.Read(v, engine.Bytes(made[mod])); err != nil {
			return err
		}
	}
	return nil
}

// net returns the modules as a net that need be no classifier.
func (f *function) net() (*layers.Net, layers.StateDict, error) {
	in := layers.Input{Channels: f.image.c, Height: f.image.h, Width: f.image.w}
	b, err := f.t.builder(in)
	if err != nil {
		return nil, nil, err
	}
	n := b.Function(f.t.mods[len(f.t.mods)-1].name)
	s, err := f.t.state(n)
	return n, s, err
}
