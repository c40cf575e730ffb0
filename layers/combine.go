package layers

import "github.com/potstill/potstill/engine"

// Add is the sum of its inputs, which have one shape: a residual connection.
type Add struct{}

func init() { Register(Add{}) }

// Check implements Kind.
func (Add) Check(inputs int) error {
	if inputs < 2 {
		return takes("two inputs or more", inputs)
	}
	return nil
}

// Params implements Kind.
func (Add) Params() []Param { return nil }

// Build implements Kind.
func (Add) Build(c *Call) *engine.Value { return c.One(engine.Add{}, c.In...) }

// Tie implements Kind: the inputs' channels of one number are one.
func (Add) Tie(t *Ties) {
	for i := 1; i < t.Inputs(); i++ {
		t.Unite(t.Input(0), t.Input(i))
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k Add) Keep([][]int, []int) (Kind, error) { return k, nil }

// fill returns n, or where it is 0 the channels of the first input.
func fill(n int, in []engine.Spec) int {
	if n == 0 && len(in) > 0 && len(in[0].Shape) > 0 {
		return in[0].Shape[len(in[0].Shape)-1]
	}
	return n
}
