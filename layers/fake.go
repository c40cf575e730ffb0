package layers

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A Fake is a quantizer of a module: it rounds a weight, what the module reads or
// what it makes to the numbers that codes of a few bits stand for (see
// engine.FakeQuant for the algebra). The values stay floats: the net computes what
// one in integers will, up to the rounding of sums, and can be trained so.
//
// A quantizer's scale, and its zero point unless it is symmetric, are tensors of
// the module: of the quantizer of the role "weight" these are weight_scale and
// weight_zero_point, [O] or [1] in float32, in the state like any other tensor.
type Fake struct {
	// Bits is the size of a code, from 2 to 8.
	Bits int `json:"bits" yaml:"bits"`
	// Signed says that codes go from -2^(Bits-1) to 2^(Bits-1)-1, else they go from
	// 0 to 2^Bits-1.
	Signed bool `json:"signed,omitempty" yaml:"signed"`
	// Symmetric says that there is no zero point: the code 0 stands for 0.
	Symmetric bool `json:"symmetric,omitempty" yaml:"symmetric"`
	// PerChannel says that each output channel of a weight, the first axis in
	// PyTorch's layout, has a scale of its own.
	PerChannel bool `json:"per_channel,omitempty" yaml:"per_channel"`
	// Learned says that the scale is trained, by LSQ's gradient; else it is a
	// buffer, which a step of training leaves as it is.
	Learned bool `json:"learned,omitempty" yaml:"learned"`
}

// The roles of quantizers: the weight of a Conv2d or a Linear, all inputs of a
// module, and its output. The quantizers of an image or of a value that is rounded
// again belong to an Identity's output, or to the input of what reads it.
const (
	FakeWeight = "weight"
	FakeInput  = "input"
	FakeOutput = "output"
)

// Codes returns the least and the largest code.
func (f Fake) Codes() (lo, hi int32) {
	if f.Signed {
		return -1 << (f.Bits - 1), 1<<(f.Bits-1) - 1
	}
	return 0, 1<<f.Bits - 1
}

// ScaleRole and ZeroRole return the roles of a quantizer's tensors.
func ScaleRole(role string) string { return role + "_scale" }

// ZeroRole is the role of a quantizer's zero point: see ScaleRole.
func ZeroRole(role string) string { return role + "_zero_point" }

// check reports settings that make no sense for a role.
func (f Fake) check(role string) error {
	switch {
	case role != FakeWeight && role != FakeInput && role != FakeOutput:
		return fmt.Errorf("a quantizer of its %s; there are those of %s, %s and %s", short(role), FakeWeight, FakeInput, FakeOutput)
	case f.Bits < 2 || f.Bits > 8:
		return fmt.Errorf("the quantizer of its %s has %d bits; give a number from 2 to 8", role, f.Bits)
	case f.PerChannel && role != FakeWeight:
		return fmt.Errorf("the quantizer of its %s has a scale for each channel; only a weight can", role)
	}
	return nil
}

// checkFakes looks at a module's quantizers.
func (m *Module) checkFakes() error {
	for _, role := range m.fakeRoles() {
		if err := m.Fake[role].check(role); err != nil {
			return err
		}
		if _, ok := m.weight(); role == FakeWeight && !ok {
			return fmt.Errorf("a %s has no weight that can be quantized", KindName(m.Kind))
		}
	}
	return nil
}

// fakeRoles returns the roles of the module's quantizers in alphabetical order.
func (m *Module) fakeRoles() []string { return slices.Sorted(maps.Keys(m.Fake)) }

// weight returns the kind's weight whose first axis is the output channels.
func (m *Module) weight() (Param, bool) {
	for _, p := range m.Kind.Params() {
		if p.Role == FakeWeight && (p.Layout == OIHW || p.Layout == OI) {
			return p, true
		}
	}
	return Param{}, false
}

// Params returns the module's tensors: those of its kind, and those of its
// quantizers behind them.
func (m *Module) Params() []Param {
	out := m.Kind.Params()
	if len(m.Fake) == 0 {
		return out
	}
	out = slices.Clone(out)
	for _, role := range m.fakeRoles() {
		f, n := m.Fake[role], 1
		if w, ok := m.weight(); ok && f.PerChannel {
			n = w.Spec.Shape[len(w.Spec.Shape)-1]
		}
		out = append(out, Param{Role: ScaleRole(role), Spec: engine.F32(n), Init: Constant(1), Buffer: !f.Learned})
		if !f.Symmetric {
			out = append(out, Param{Role: ZeroRole(role), Spec: engine.F32(n), Buffer: true})
		}
	}
	return out
}

// build adds the module to the graph, with the quantizers of what it reads and
// what it makes.
func (c *Call) build() *engine.Value {
	for i, x := range c.In {
		c.In[i] = c.fake(FakeInput, x)
	}
	return c.fake(FakeOutput, c.module.Kind.Build(c))
}

// fake rounds a value where the module has a quantizer for it.
func (c *Call) fake(role string, x *engine.Value) *engine.Value {
	f, ok := c.module.Fake[role]
	if !ok {
		return x
	}
	in := []*engine.Value{x, c.Variable(c.values[c.module.Tensor(ScaleRole(role))])}
	op := engine.FakeQuant{Zero: !f.Symmetric}
	if op.Lo, op.Hi = f.Codes(); op.Zero {
		in = append(in, c.Variable(c.values[c.module.Tensor(ZeroRole(role))]))
	}
	if f.Learned {
		each := x.Len() / in[1].Len() // what has one scale
		if role != FakeWeight {
			each /= x.Shape[0]
		}
		op.Gain = float32(1 / math.Sqrt(float64(each)*float64(op.Hi)))
	}
	return c.One(op, in...)
}

// tieScales says which channels the scales of the module's weight belong to.
func (t *Ties) tieScales() {
	if f := t.at.Fake[FakeWeight]; f.PerChannel {
		at := t.shared[axisKey{t.at.Tensor(FakeWeight), 0}]
		t.Axis(ScaleRole(FakeWeight), 0, at)
		if !f.Symmetric {
			t.Axis(ZeroRole(FakeWeight), 0, at)
		}
	}
}

// setFake gives the module a quantizer whose tensors are another module's.
func (m *Module) setFake(role string, f Fake, from *Module) {
	m.Fake, m.Tensors = maps.Clone(m.Fake), maps.Clone(m.Tensors)
	if m.Fake == nil {
		m.Fake = make(map[string]Fake)
	}
	if m.Tensors == nil {
		m.Tensors = make(map[string]string)
	}
	m.Fake[role] = f
	for _, r := range []string{ScaleRole(role), ZeroRole(role)} {
		if r == ScaleRole(role) || !f.Symmetric {
			m.Tensors[r] = from.Tensor(r)
		}
	}
}

// Quantized reports whether the net has quantizers, and integers whether any of
// them rounds what modules read or make: such a net is evaluated in integers.
func (n *Net) Quantized() (any, integers bool) {
	for i := range n.Modules {
		for role := range n.Modules[i].Fake {
			any = true
			integers = integers || role != FakeWeight
		}
	}
	return any, integers
}

// A Quantizer is a Fake with the values of its tensors.
type Quantizer struct {
	Fake
	Module, Role string
	// Scale and Zero have one element, or one for each channel. Zero is zeros
	// where the quantizer is symmetric.
	Scale, Zero []float32
}

// Range returns the least and the largest number that a code stands for, over all
// channels.
func (q *Quantizer) Range() (least, most float64) {
	lo, hi := q.Codes()
	for i, s := range q.Scale {
		least = min(least, float64(s)*(float64(lo)-float64(q.Zero[i])))
		most = max(most, float64(s)*(float64(hi)-float64(q.Zero[i])))
	}
	return least, most
}

// Quantizers returns the quantizers of a net with their values in a state of it, in
// the order of execution. An error names the module whose ranges make no sense.
func (n *Net) Quantizers(s StateDict) ([]Quantizer, error) {
	var out []Quantizer
	for i := range n.Modules {
		m := &n.Modules[i]
		for _, role := range m.fakeRoles() {
			q := Quantizer{Fake: m.Fake[role], Module: m.Name, Role: role}
			e := s.Find(m.Tensor(ScaleRole(role)))
			if e == nil {
				return nil, fmt.Errorf("%s: the quantizer of its %s has no scale; calibrate the net again", m.Name, role)
			}
			q.Scale, q.Zero = e.Data, make([]float32, len(e.Data))
			if !q.Symmetric {
				z := s.Find(m.Tensor(ZeroRole(role)))
				if z == nil || len(z.Data) != len(q.Zero) {
					return nil, fmt.Errorf("%s: the quantizer of its %s has no zero point; calibrate the net again", m.Name, role)
				}
				q.Zero = z.Data
			}
			if err := q.check(); err != nil {
				return nil, fmt.Errorf("%s: the quantizer of its %s: %w; calibrate the net again", m.Name, role, err)
			}
			out = append(out, q)
		}
	}
	return out, nil
}

// check reports a scale or a zero point that there cannot be.
func (q *Quantizer) check() error {
	lo, hi := q.Codes()
	for i, s := range q.Scale {
		switch z := q.Zero[i]; {
		case !(s > 0) || !finite(s):
			return fmt.Errorf("scale %d is %g, which must be a positive number", i, s)
		case s < 0x1p-126:
			return fmt.Errorf("scale %d is %g, which is too small", i, s)
		case !(z >= float32(lo) && z <= float32(hi)) || z != float32(math.Trunc(float64(z))):
			return fmt.Errorf("zero point %d is %g, which must be an integer from %d to %d", i, z, lo, hi)
		}
	}
	if least, most := q.Range(); math.IsInf(float64(float32(least)), 0) || math.IsInf(float64(float32(most)), 0) {
		return errors.New("its range is not finite")
	}
	return nil
}

// WithoutFakes is the rewrite that takes all quantizers out of a net, and leaves the
// weights as these round them.
func WithoutFakes(n *Net, s StateDict) (*Net, StateDict, error) {
	out, state := n.clone(), slices.Clone(s)
	if s != nil {
		var err error
		if state, err = n.Encode(s); err != nil {
			return nil, nil, err
		}
	}
	gone := make(map[string]bool)
	for i := range out.Modules {
		m := &out.Modules[i]
		if len(m.Fake) == 0 {
			continue
		}
		m.Tensors = maps.Clone(m.Tensors)
		for role := range m.Fake {
			for _, r := range []string{ScaleRole(role), ZeroRole(role)} {
				gone[m.Tensor(r)] = true
				delete(m.Tensors, r)
			}
		}
		m.Fake = nil
	}
	if s == nil {
		return out, nil, out.Validate()
	}
	state = slices.DeleteFunc(state, func(e Entry) bool { return gone[e.Name] })
	for i := range state {
		if state[i].Encoding().Rule == Scaled {
			state[i].Codes = nil
		}
	}
	return out, state, out.Validate()
}

// SetFakes returns the rewrite that gives modules, by name, quantizers in place of
// those that they have, and the values of their tensors.
func SetFakes(quantizers []Quantizer) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		out, state := n.clone(), slices.Clone(s)
		for _, q := range quantizers {
			m := out.Module(q.Module)
			if m == nil {
				return nil, nil, fmt.Errorf("%s: there is no module %s to quantize", n, q.Module)
			}
			m.Fake = maps.Clone(m.Fake)
			if m.Fake == nil {
				m.Fake = make(map[string]Fake)
			}
			m.Fake[q.Role] = q.Fake
			if q.Symmetric && m.Tensors[ZeroRole(q.Role)] != "" {
				m.Tensors = maps.Clone(m.Tensors)
				delete(m.Tensors, ZeroRole(q.Role))
			}
			scale, zero := m.Tensor(ScaleRole(q.Role)), m.Tensor(ZeroRole(q.Role))
			state = slices.DeleteFunc(state, func(e Entry) bool { return e.Name == scale || e.Name == zero })
			state = append(state, Entry{Name: scale, Shape: []int{len(q.Scale)}, Data: slices.Clone(q.Scale)})
			if !q.Symmetric {
				state = append(state, Entry{Name: zero, Shape: []int{len(q.Zero)}, Data: slices.Clone(q.Zero)})
			}
		}
		if err := out.Validate(); err != nil {
			return nil, nil, err
		}
		if s == nil {
			return out, nil, nil
		}
		state = out.sorted(state)
		if err := out.CheckState(state); err != nil {
			return nil, nil, err
		}
		return out, state, nil
	}
}
