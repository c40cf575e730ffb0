package layers

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { Register(PReLU{NumParameters: 1, Start: 0.25}) }

// PReLU is PyTorch's nn.PReLU (He et al., arXiv:1502.01852): x for x > 0, else
// weight·x, with one slope for all channels or one for each.
//
// Tensors: weight [NumParameters], Start at the start.
type PReLU struct {
	NumParameters int     `json:"num_parameters"`
	Start         float64 `json:"init"`
}

// Check implements Kind.
func (k PReLU) Check(inputs int) error {
	switch {
	case inputs != 1:
		return one(inputs)
	case k.NumParameters < 1 || k.NumParameters > maxFeatures:
		return fmt.Errorf("num_parameters is %d; it is 1 or the number of channels", k.NumParameters)
	case math.IsInf(float64(float32(k.Start)), 0) || math.IsNaN(k.Start):
		return fmt.Errorf("init is %v; give a number that float32 can hold", k.Start)
	}
	return nil
}

// Params implements Kind.
func (k PReLU) Params() []Param {
	return []Param{param("weight", Same, Constant(k.Start), k.NumParameters)}
}

// Build implements Kind.
func (k PReLU) Build(c *Call) *engine.Value { return c.One(engine.PReLU{}, c.In[0], c.Param("weight")) }

// Tie implements Kind. A single slope is of no channel.
func (k PReLU) Tie(t *Ties) {
	if k.NumParameters > 1 {
		t.Axis("weight", 0, t.Input(0))
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k PReLU) Keep(in [][]int, _ []int) (Kind, error) {
	if k.NumParameters > 1 {
		k.NumParameters = count(k.NumParameters, in[0])
	}
	return k, nil
}
