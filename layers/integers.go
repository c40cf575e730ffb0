package layers

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

// Integers is the rewrite of a net with quantizers of its activations into one that
// computes in integers, for evaluation. Batch norms are folded, and a module whose
// inputs and output have codes becomes an [Integer]: convolutions and linear layers,
// with the clamp behind them (ReLU, ReLU6, Hardtanh) in the range of their codes, sums
// and products of two values, concatenations, pools, and any other function of one
// number as a table. What is neither stays as it is, on the numbers that codes stand
// for, and is named by InFloat. A net that Net.Quantized says is not computed in
// integers comes back as it is.
//
// The result has the modules' names where they still have an output. It is made to be
// run: it has no text, and is neither trained nor cut.
func Integers(n *Net, s StateDict) (*Net, StateDict, error) {
	out, state, _, err := integers(n, s)
	return out, state, err
}

// InFloat returns the names of the modules with arithmetic that [Integers] leaves in
// float32, each with the reason: "fc: its output has no quantizer".
func InFloat(n *Net, s StateDict) ([]string, error) {
	_, _, left, err := integers(n, s)
	return left, err
}

func integers(n *Net, s StateDict) (*Net, StateDict, []string, error) {
	if _, yes := n.Quantized(); !yes {
		return n, s, nil, nil
	}
	n, s, err := FoldBatchNorm(n, s)
	if err != nil {
		return nil, nil, nil, err
	}
	if s == nil {
		return nil, nil, nil, fmt.Errorf("%s: a net in integers is made of its values, which are not there", n)
	}
	shapes, err := n.shapes()
	if err != nil {
		return nil, nil, nil, err
	}
	qs, err := n.Quantizers(s)
	if err != nil {
		return nil, nil, nil, err
	}
	x := &integrator{from: n, state: s, shapes: shapes, values: make(map[string]*coded), made: make(map[string]bool), quantizers: make(map[[2]string]Quantizer)}
	for _, q := range qs {
		x.quantizers[[2]string{q.Module, q.Role}] = q
	}
	return x.net()
}

// An Integer is a module of a net in integers: an op on codes, and its tensors, which
// follow the inputs.
type Integer struct {
	Op      engine.Op
	Tensors []Param
	inputs  int
}

// Check implements Kind.
func (k Integer) Check(inputs int) error {
	if inputs != k.inputs {
		return takes(fmt.Sprint(k.inputs, " inputs"), inputs)
	}
	return nil
}

// Params implements Kind.
func (k Integer) Params() []Param { return k.Tensors }

// Build implements Kind.
func (k Integer) Build(c *Call) *engine.Value {
	in := slices.Clone(c.In)
	for _, p := range k.Tensors {
		in = append(in, c.Param(p.Role))
	}
	return c.One(k.Op, in...)
}

// Tie implements Kind: nothing of it can be cut.
func (k Integer) Tie(t *Ties) {
	y := t.New(0)
	for i := range t.Inputs() {
		t.Fix(t.Input(i), "the net computes in integers")
		y = append(y, t.Input(i)...)
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Integer) Keep([][]int, []int) (Kind, error) {
	return nil, fmt.Errorf("a net in integers is not cut; cut the net that it was made of")
}

// A coded is what is known of a module's output: the module of the new net that has
// its codes, and that which has its numbers; "" where there is none yet.
type coded struct {
	codes string
	c     engine.Codes
	float string
}

// An integrator makes a net in integers.
type integrator struct {
	from       *Net
	state      StateDict
	shapes     map[string]engine.Spec
	quantizers map[[2]string]Quantizer // by module and role
	values     map[string]*coded       // by module of the old net
	out        Net
	entries    StateDict
	made       map[string]bool // modules of the new net
	left       []string
}

func (x *integrator) net() (*Net, StateDict, []string, error) {
	n := x.from
	x.out = Net{Version: n.Version, Family: n.Family, Input: n.Input}
	x.values[Image] = &coded{float: Image}
	for i := range n.Modules {
		m := &n.Modules[i]
		if x.values[m.Name] != nil {
			continue // part of the module before it
		}
		why := x.integer(m)
		if why == "" {
			continue
		}
		if len(m.Kind.Params()) > 0 || len(m.Fake) > 0 {
			x.left = append(x.left, m.Name+": "+why)
		}
		x.keep(m)
	}
	x.out.Output = x.float(n.Output)
	used := make(map[string]bool)
	used[x.out.Output] = true
	for i := len(x.out.Modules) - 1; i >= 0; i-- {
		if m := &x.out.Modules[i]; used[m.Name] {
			for _, from := range m.In {
				used[from] = true
			}
		}
	}
	x.out.Modules = slices.DeleteFunc(x.out.Modules, func(m Module) bool { return !used[m.Name] })
	ts, err := x.out.params()
	if err != nil {
		return nil, nil, nil, err
	}
	var state StateDict
	for _, t := range ts {
		e := x.entries.Find(t.name)
		if e == nil {
			e = x.state.Find(t.name)
		}
		state = append(state, *e)
	}
	if err := x.out.Validate(); err != nil {
		return nil, nil, nil, err
	}
	return &x.out, state, x.left, nil
}

// add appends a module, under a name that is still free.
func (x *integrator) add(name string, k Kind, in ...string) string {
	for base, i := name, 1; x.made[name] || name == Image; i++ {
		name = fmt.Sprintf("%s.%d", base, i)
	}
	x.made[name] = true
	x.out.Modules = append(x.out.Modules, Module{Name: name, In: in, Kind: k})
	return name
}

// op appends an op on codes without tensors.
func (x *integrator) op(name string, op engine.Op, in ...string) string {
	return x.add(name, Integer{Op: op, inputs: len(in)}, in...)
}

// codesOf returns what the codes of a quantizer of activations are in uint8.
func (q *Quantizer) codesOf() engine.Codes {
	lo, hi := q.Codes()
	return engine.Codes{Scale: q.Scale[0], Zero: int32(q.Zero[0]) - lo, Hi: hi - lo}
}

// quantizer returns the codes of a module's quantizer of its input or output.
func (x *integrator) quantizer(m *Module, role string) (engine.Codes, bool) {
	q, ok := x.quantizers[[2]string{m.Name, role}]
	if !ok {
		return engine.Codes{}, false
	}
	return q.codesOf(), true
}

// float returns the module of the new net that has the numbers of a value.
func (x *integrator) float(name string) string {
	v := x.values[name]
	if v.float == "" {
		v.float = x.op(name+".dequantize", engine.Dequantize{X: v.c}, v.codes)
	}
	return v.float
}

// input returns the codes of a module's input k: those that the value has, or those
// of the module's own quantizer of its inputs.
func (x *integrator) input(m *Module, k int) (string, engine.Codes, bool) {
	v := x.values[m.In[k]]
	want, own := x.quantizer(m, FakeInput)
	switch {
	case !own && v.codes == "":
		return "", engine.Codes{}, false
	case !own:
		return v.codes, v.c, true
	case v.codes == "":
		return x.op(m.Name+".quantize", engine.Quantize{Y: want}, v.float), want, true
	}
	return x.recode(m.Name+".requantize", v.codes, v.c, want, engine.Identity), want, true
}

// recode gives codes for other ones, with a function between them.
func (x *integrator) recode(name, from string, c, to engine.Codes, f engine.Act) string {
	if f == engine.Identity && c.Scale == to.Scale && c.Zero == to.Zero && to.Lo <= c.Lo && to.Hi >= c.Hi {
		return from
	}
	table := make([]int64, 256)
	for q := range table {
		if v := f.Eval(float64((float32(q) - float32(c.Zero)) * c.Scale)); !math.IsNaN(v) {
			table[q] = int64(code(to, v))
		} else {
			table[q] = int64(to.Lo)
		}
	}
	k := Integer{Op: engine.Lookup{}, inputs: 1, Tensors: []Param{{Role: "table", Spec: engine.Spec{Shape: []int{256}, DType: engine.Uint8}, Buffer: true}}}
	name = x.add(name, k, from)
	x.entries = append(x.entries, Entry{Name: name + ".table", Shape: []int{256}, Int: table})
	return name
}

// code is the code of a number: see engine.Codes.
func code(c engine.Codes, v float64) int32 {
	q := math.RoundToEven(float64(float32(v)/c.Scale)) + float64(c.Zero)
	return int32(min(max(q, float64(c.Lo)), float64(c.Hi)))
}

// clamped returns codes whose range is that of a clamp too.
func clamped(c engine.Codes, f engine.Act) (engine.Codes, bool) {
	least, most, ok := f.Clamps()
	if !ok {
		return c, false
	}
	c.Lo, c.Hi = max(c.Lo, code(c, float64(least))), min(c.Hi, code(c, float64(most)))
	return c, c.Lo <= c.Hi
}

// soleOp returns the op that a module of the old net is one node of; nil for a module
// that passes its input on. Other modules are none.
func (x *integrator) soleOp(m *Module) (op engine.Op, ok bool) {
	b := engine.NewBuilder(engine.NewGraph())
	c := Call{Builder: b, module: &Module{Name: m.Name, Tensors: m.Tensors, Kind: m.Kind}, values: make(map[string]*engine.Variable)}
	for k, from := range m.In {
		c.In = append(c.In, b.Input(fmt.Sprint(k), x.shapes[from]))
	}
	for _, p := range m.Kind.Params() {
		c.values[m.Tensor(p.Role)] = &engine.Variable{Name: p.Role, Spec: p.Spec}
	}
	m.Kind.Build(&c)
	switch nodes := b.Graph().Nodes(); {
	case b.Err() != nil || len(nodes) > 1:
		return nil, false
	case len(nodes) == 0:
		return nil, len(m.In) == 1
	default:
		return nodes[0].Op, true
	}
}

// destination returns the codes of a module's output, and the module of the old net
// that has the output: the module itself, or the clamp that alone reads it.
func (x *integrator) destination(m *Module) (engine.Codes, *Module, bool) {
	if c, ok := x.quantizer(m, FakeOutput); ok {
		return c, m, true
	}
	readers := x.from.readers(m.Name)
	if m.Name == x.from.Output || len(readers) != 1 || len(readers[0].In) != 1 {
		return engine.Codes{}, m, false
	}
	next := readers[0]
	_, again := next.Fake[FakeInput]
	c, ok := x.quantizer(next, FakeOutput)
	op, sole := x.soleOp(next)
	a, is := op.(engine.Activation)
	if again || !ok || !sole || !is {
		return engine.Codes{}, m, false
	}
	if c, ok = clamped(c, a.F); !ok {
		return engine.Codes{}, m, false
	}
	return c, next, true
}

// keep takes a module over as it is, on numbers.
func (x *integrator) keep(m *Module) {
	n := Module{Name: m.Name, Kind: m.Kind, Fake: maps.Clone(m.Fake), Tensors: make(map[string]string)}
	for _, p := range m.Params() {
		n.Tensors[p.Role] = m.Tensor(p.Role)
	}
	for _, from := range m.In {
		n.In = append(n.In, x.float(from))
	}
	x.made[m.Name] = true
	x.out.Modules = append(x.out.Modules, n)
	v := &coded{float: m.Name}
	x.values[m.Name] = v
	if c, ok := x.quantizer(m, FakeOutput); ok {
		v.c, v.codes = c, x.op(m.Name+".quantize", engine.Quantize{Y: c}, m.Name)
	}
}

// set notes that a module of the new net has the codes of a module of the old one.
func (x *integrator) set(m *Module, codes string, c engine.Codes) {
	x.values[m.Name] = &coded{codes: codes, c: c}
}
