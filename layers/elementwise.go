package layers

import "github.com/potstill/potstill/engine"

func init() {
	Register(Mul{})
	Register(Sub{})
	Register(Div{})
	Register(Maximum{})
	Register(Minimum{})
}

// several is the part that kinds of several inputs of one shape have in common:
// their channels of one number are one.
type several struct{}

// Check implements Kind.
func (several) Check(inputs int) error { return Add{}.Check(inputs) }

// Params implements Kind.
func (several) Params() []Param { return nil }

// Tie implements Kind.
func (several) Tie(t *Ties) { Add{}.Tie(t) }

// ofTwo is several for kinds of two inputs.
type ofTwo struct{ several }

// Check implements Kind.
func (ofTwo) Check(inputs int) error {
	if inputs != 2 {
		return takes("two inputs", inputs)
	}
	return nil
}

// Mul is the product of its inputs. They have one shape, [N,H,W,C] or [N,C], or
// are factors that are repeated over the largest: [N,C] or [N,1,1,C] over the
// pixels, as in squeeze and excitation (Hu et al., arXiv:1709.01507), [N,H,W,1]
// over the channels.
type Mul struct{ several }

// Build implements Kind.
func (Mul) Build(c *Call) *engine.Value {
	largest := 0
	for i, v := range c.In {
		if v.Len() > c.In[largest].Len() {
			largest = i
		}
	}
	y := c.In[largest]
	for i, v := range c.In {
		if i != largest {
			y = c.One(engine.Mul{}, y, v)
		}
	}
	return y
}

// Tie implements Kind. The channel of a factor that has one for all is kept.
func (Mul) Tie(t *Ties) {
	y := t.Input(0)
	for i := range t.Inputs() {
		if x := t.Input(i); len(x) > len(y) {
			y = x
		}
	}
	for i := range t.Inputs() {
		switch x := t.Input(i); {
		case len(x) == len(y):
			t.Unite(y, x)
		default:
			t.Fix(x, "it is a factor of all channels of "+t.at.Name)
		}
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Mul) Keep([][]int, []int) (Kind, error) { return k, nil }

// Sub is the difference of two inputs of one shape.
type Sub struct{ ofTwo }

// Build implements Kind.
func (Sub) Build(c *Call) *engine.Value { return c.One(engine.Add{Weights: []float32{1, -1}}, c.In...) }

// Keep implements Kind.
func (k Sub) Keep([][]int, []int) (Kind, error) { return k, nil }

// Div is the quotient of two inputs of one shape.
type Div struct{ ofTwo }

// Build implements Kind.
func (Div) Build(c *Call) *engine.Value { return c.One(engine.Div{}, c.In...) }

// Keep implements Kind.
func (k Div) Keep([][]int, []int) (Kind, error) { return k, nil }

// Maximum is the largest of its inputs, which have one shape, element by element.
type Maximum struct{ several }

// Build implements Kind.
func (Maximum) Build(c *Call) *engine.Value { return c.chain(engine.Maximum{}) }

// Keep implements Kind.
func (k Maximum) Keep([][]int, []int) (Kind, error) { return k, nil }

// Minimum is the smallest of its inputs, which have one shape, element by element.
type Minimum struct{ several }

// Build implements Kind.
func (Minimum) Build(c *Call) *engine.Value { return c.chain(engine.Minimum{}) }

// Keep implements Kind.
func (k Minimum) Keep([][]int, []int) (Kind, error) { return k, nil }

// chain applies an op of two inputs to the first two, then to its result and the
// next.
func (c *Call) chain(op engine.Op) *engine.Value {
	y := c.In[0]
	for _, v := range c.In[1:] {
		y = c.One(op, y, v)
	}
	return y
}
