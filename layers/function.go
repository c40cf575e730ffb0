package layers

import "github.com/potstill/potstill/engine"

// The functions of one number that graphs of other programs hold beside the
// activations.
func init() {
	Register(Exp{})
	Register(Log{})
	Register(Sqrt{})
	Register(Abs{})
	Register(Neg{})
	Register(Reciprocal{})
	Register(Erf{})
	Register(Softsign{})
	Register(Pow{Exponent: 1})
}

// Exp is eˣ.
type Exp struct{ unary }

// Build implements Kind.
func (Exp) Build(c *Call) *engine.Value { return c.act(engine.Exp) }

// Keep implements Kind.
func (k Exp) Keep([][]int, []int) (Kind, error) { return k, nil }

// Log is log x.
type Log struct{ unary }

// Build implements Kind.
func (Log) Build(c *Call) *engine.Value { return c.act(engine.Log) }

// Keep implements Kind.
func (k Log) Keep([][]int, []int) (Kind, error) { return k, nil }

// Sqrt is √x.
type Sqrt struct{ unary }

// Build implements Kind.
func (Sqrt) Build(c *Call) *engine.Value { return c.act(engine.Sqrt) }

// Keep implements Kind.
func (k Sqrt) Keep([][]int, []int) (Kind, error) { return k, nil }

// Abs is |x|.
type Abs struct{ unary }

// Build implements Kind.
func (Abs) Build(c *Call) *engine.Value { return c.act(engine.Abs) }

// Keep implements Kind.
func (k Abs) Keep([][]int, []int) (Kind, error) { return k, nil }

// Neg is -x.
type Neg struct{ unary }

// Build implements Kind.
func (Neg) Build(c *Call) *engine.Value { return c.act(engine.Neg) }

// Keep implements Kind.
func (k Neg) Keep([][]int, []int) (Kind, error) { return k, nil }

// Reciprocal is 1/x.
type Reciprocal struct{ unary }

// Build implements Kind.
func (Reciprocal) Build(c *Call) *engine.Value { return c.act(engine.Reciprocal) }

// Keep implements Kind.
func (k Reciprocal) Keep([][]int, []int) (Kind, error) { return k, nil }

// Erf is the error function of x.
type Erf struct{ unary }

// Build implements Kind.
func (Erf) Build(c *Call) *engine.Value { return c.act(engine.Erf) }

// Keep implements Kind.
func (k Erf) Keep([][]int, []int) (Kind, error) { return k, nil }

// Softsign is PyTorch's nn.Softsign: x/(1+|x|).
type Softsign struct{ unary }

// Build implements Kind.
func (Softsign) Build(c *Call) *engine.Value { return c.act(engine.Softsign) }

// Keep implements Kind.
func (k Softsign) Keep([][]int, []int) (Kind, error) { return k, nil }

// Pow is x^Exponent, for x < 0 only where the exponent is a whole number.
type Pow struct {
	unary
	Exponent float64 `json:"exponent"`
}

// Check implements Kind.
func (k Pow) Check(inputs int) error { return checkAct(engine.Pow(float32(k.Exponent)), inputs) }

// Build implements Kind.
func (k Pow) Build(c *Call) *engine.Value { return c.act(engine.Pow(float32(k.Exponent))) }

// Keep implements Kind.
func (k Pow) Keep([][]int, []int) (Kind, error) { return k, nil }
