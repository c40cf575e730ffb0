package layers

import (
	"slices"

	"github.com/potstill/potstill/engine"
)

func init() { Register(StochasticDepth{P: 0.2}) }

// StochasticDepth is torchvision's StochasticDepth of mode "row" (Huang et al.,
// arXiv:1603.09382): in training each image is zeroed with probability P and the
// others are divided by 1-P; in evaluation x passes. It stands before the sum of
// a residual block.
//
// Its random numbers are those of the graph's input engine.DropoutInput and of
// the module's name.
type StochasticDepth struct {
	unary
	P float64 `json:"p"`
}

// Check implements Kind.
func (k StochasticDepth) Check(inputs int) error { return Dropout{P: k.P}.Check(inputs) }

// Build implements Kind.
func (k StochasticDepth) Build(c *Call) *engine.Value {
	if !c.Train || k.P == 0 {
		return c.In[0]
	}
	return c.One(engine.StochasticDepth{P: float32(k.P), Stream: c.Stream()}, c.In[0], c.DropoutCounter())
}

// Keep implements Kind.
func (k StochasticDepth) Keep([][]int, []int) (Kind, error) { return k, nil }

// WithoutDropout returns the net with every dropout and stochastic depth at the
// probability 0, so that a step of training is a function of its weights and
// images alone, as a comparison with another program needs it.
func (n *Net) WithoutDropout() *Net {
	c := *n
	c.Modules = slices.Clone(n.Modules)
	for i := range c.Modules {
		switch k := c.Modules[i].Kind.(type) {
		case Dropout:
			k.P = 0
			c.Modules[i].Kind = k
		case StochasticDepth:
			k.P = 0
			c.Modules[i].Kind = k
		}
	}
	return &c
}
