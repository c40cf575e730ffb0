package layers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/yamldoc"
)

func init() {
	Register(Sigmoid{})
	Register(Tanh{})
	Register(SiLU{})
	Register(SELU{})
	Register(Mish{})
	Register(Hardswish{})
	Register(LeakyReLU{NegativeSlope: 0.01})
	Register(ELU{Alpha: 1})
	Register(Celu{Alpha: 1})
	Register(Hardsigmoid{Alpha: 1. / 6, Beta: 0.5})
	Register(GELU{Approximate: "none"})
	Register(Softplus{Beta: 1, Threshold: 20})
	Register(Hardtanh{MinVal: -1, MaxVal: 1})
	Register(ThresholdedReLU{Alpha: 1})
}

// act adds f of the module's input.
func (c *Call) act(f engine.Act) *engine.Value { return c.One(engine.Activation{F: f}, c.In[0]) }

// checkAct looks at a module that computes f.
func checkAct(f engine.Act, inputs int) error {
	if inputs != 1 {
		return one(inputs)
	}
	return f.Check()
}

// Sigmoid is PyTorch's nn.Sigmoid: 1/(1+e⁻ˣ).
type Sigmoid struct{ unary }

// Build implements Kind.
func (Sigmoid) Build(c *Call) *engine.Value { return c.act(engine.Sigmoid) }

// Keep implements Kind.
func (k Sigmoid) Keep([][]int, []int) (Kind, error) { return k, nil }

// Tanh is PyTorch's nn.Tanh: tanh x.
type Tanh struct{ unary }

// Build implements Kind.
func (Tanh) Build(c *Call) *engine.Value { return c.act(engine.Tanh) }

// Keep implements Kind.
func (k Tanh) Keep([][]int, []int) (Kind, error) { return k, nil }

// SiLU is PyTorch's nn.SiLU, also called swish: x/(1+e⁻ˣ).
type SiLU struct{ unary }

// Build implements Kind.
func (SiLU) Build(c *Call) *engine.Value { return c.act(engine.SiLU) }

// Keep implements Kind.
func (k SiLU) Keep([][]int, []int) (Kind, error) { return k, nil }

// SELU is PyTorch's nn.SELU (Klambauer et al., arXiv:1706.02515): λ·x for x > 0, else λ·α·(eˣ-1).
type SELU struct{ unary }

// Build implements Kind.
func (SELU) Build(c *Call) *engine.Value { return c.act(engine.SELU) }

// Keep implements Kind.
func (k SELU) Keep([][]int, []int) (Kind, error) { return k, nil }

// Mish is PyTorch's nn.Mish (Misra, arXiv:1908.08681): x·tanh(log(1+eˣ)).
type Mish struct{ unary }

// Build implements Kind.
func (Mish) Build(c *Call) *engine.Value { return c.act(engine.Mish) }

// Keep implements Kind.
func (k Mish) Keep([][]int, []int) (Kind, error) { return k, nil }

// Hardswish is PyTorch's nn.Hardswish (Howard et al., "MobileNetV3", arXiv:1905.02244):
// x·min(max(x+3, 0), 6)/6.
type Hardswish struct{ unary }

// Build implements Kind.
func (Hardswish) Build(c *Call) *engine.Value { return c.act(engine.HardSwish) }

// Keep implements Kind.
func (k Hardswish) Keep([][]int, []int) (Kind, error) { return k, nil }

// LeakyReLU is PyTorch's nn.LeakyReLU: x for x > 0, else NegativeSlope·x.
type LeakyReLU struct {
	unary
	NegativeSlope float64 `json:"negative_slope"`
}

func (k LeakyReLU) act() engine.Act { return engine.LeakyReLU(float32(k.NegativeSlope)) }

// Check implements Kind.
func (k LeakyReLU) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k LeakyReLU) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k LeakyReLU) Keep([][]int, []int) (Kind, error) { return k, nil }

// ELU is PyTorch's nn.ELU (Clevert et al., arXiv:1511.07289): x for x > 0, else
// Alpha·(eˣ-1).
type ELU struct {
	unary
	Alpha float64 `json:"alpha"`
}

func (k ELU) act() engine.Act { return engine.ELU(float32(k.Alpha)) }

// Check implements Kind.
func (k ELU) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k ELU) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k ELU) Keep([][]int, []int) (Kind, error) { return k, nil }

// Celu is PyTorch's nn.CELU (Barron, arXiv:1704.07483): x for x > 0, else
// Alpha·(e^(x/Alpha)-1).
type Celu struct {
	unary
	Alpha float64 `json:"alpha"`
}

func (k Celu) act() engine.Act { return engine.CELU(float32(k.Alpha)) }

// Check implements Kind.
func (k Celu) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k Celu) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k Celu) Keep([][]int, []int) (Kind, error) { return k, nil }

// Hardsigmoid is min(max(Alpha·x+Beta, 0), 1). With the defaults it is PyTorch's
// nn.Hardsigmoid; ONNX and Keras have an alpha of 0.2.
type Hardsigmoid struct {
	unary
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
}

func (k Hardsigmoid) act() engine.Act { return engine.HardSigmoid(float32(k.Alpha), float32(k.Beta)) }

// Check implements Kind.
func (k Hardsigmoid) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k Hardsigmoid) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k Hardsigmoid) Keep([][]int, []int) (Kind, error) { return k, nil }

// Softplus is PyTorch's nn.Softplus: log(1+e^(Beta·x))/Beta, and x itself where
// Beta·x > Threshold.
type Softplus struct {
	unary
	Beta      float64 `json:"beta"`
	Threshold float64 `json:"threshold"`
}

func (k Softplus) act() engine.Act { return engine.Softplus(float32(k.Beta), float32(k.Threshold)) }

// Check implements Kind.
func (k Softplus) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k Softplus) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k Softplus) Keep([][]int, []int) (Kind, error) { return k, nil }

// Hardtanh is PyTorch's nn.Hardtanh: x between MinVal and MaxVal, one of which may be
// infinite. It is ONNX's Clip.
type Hardtanh struct {
	unary
	MinVal Bound `json:"min_val"`
	MaxVal Bound `json:"max_val"`
}

func (k Hardtanh) act() engine.Act { return engine.Clip(float32(k.MinVal), float32(k.MaxVal)) }

// Check implements Kind.
func (k Hardtanh) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k Hardtanh) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k Hardtanh) Keep([][]int, []int) (Kind, error) { return k, nil }

// ThresholdedReLU is ONNX's ThresholdedRelu: x for x > Alpha, else 0.
type ThresholdedReLU struct {
	unary
	Alpha float64 `json:"alpha"`
}

func (k ThresholdedReLU) act() engine.Act { return engine.ThresholdedReLU(float32(k.Alpha)) }

// Check implements Kind.
func (k ThresholdedReLU) Check(inputs int) error { return checkAct(k.act(), inputs) }

// Build implements Kind.
func (k ThresholdedReLU) Build(c *Call) *engine.Value { return c.act(k.act()) }

// Keep implements Kind.
func (k ThresholdedReLU) Keep([][]int, []int) (Kind, error) { return k, nil }

// GELU is PyTorch's nn.GELU (Hendrycks and Gimpel, arXiv:1606.08415): x·Φ(x) with
// the normal distribution Φ, or with Approximate "tanh"
// x·(1+tanh(√(2/π)·(x+0.044715·x³)))/2.
type GELU struct {
	unary
	Approximate string `json:"approximate"`
}

// Check implements Kind.
func (k GELU) Check(inputs int) error {
	if k.Approximate != "none" && k.Approximate != "tanh" {
		return fmt.Errorf("approximate is %s; it is none or tanh", short(k.Approximate))
	}
	return one(inputs)
}

// Build implements Kind.
func (k GELU) Build(c *Call) *engine.Value {
	if k.Approximate == "tanh" {
		return c.act(engine.GELUTanh)
	}
	return c.act(engine.GELU)
}

// Keep implements Kind.
func (k GELU) Keep([][]int, []int) (Kind, error) { return k, nil }

// A Bound is a number or an infinity, which files write as "inf" and "-inf".
type Bound float64

// MarshalJSON implements json.Marshaler.
func (b Bound) MarshalJSON() ([]byte, error) {
	switch {
	case math.IsInf(float64(b), 1):
		return []byte(`"inf"`), nil
	case math.IsInf(float64(b), -1):
		return []byte(`"-inf"`), nil
	}
	return json.Marshal(float64(b))
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bound) UnmarshalJSON(text []byte) error {
	switch string(bytes.TrimSpace(text)) {
	case `"inf"`:
		*b = Bound(math.Inf(1))
		return nil
	case `"-inf"`:
		*b = Bound(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(text, (*float64)(b))
}

// DecodeNode implements yamldoc.NodeDecoder.
func (b *Bound) DecodeNode(n *yamldoc.Node) error {
	var text string
	if n.Decode(&text) == nil && (text == "inf" || text == "-inf") {
		return b.UnmarshalJSON([]byte(`"` + text + `"`))
	}
	return n.Decode((*float64)(b))
}
