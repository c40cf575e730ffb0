package layers

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
)

// Linear is PyTorch's nn.Linear, y = x·Wᵀ + b, from [N,I] to [N,O].
//
// Tensors: weight [O,I] and, with Bias, bias [O], both uniform in ±1/√I at the
// start, unless WeightInit and BiasInit say otherwise.
type Linear struct {
	InFeatures  int  `json:"in_features"`
	OutFeatures int  `json:"out_features"`
	Bias        bool `json:"bias"`
	// WeightInit is "", KaimingNormalFanOut or another of its kind.
	WeightInit string `json:"weight_init"`
	// BiasInit is "" or Zeros.
	BiasInit string `json:"bias_init"`
}

func init() { Register(Linear{Bias: true}) }

// Check implements Kind.
func (k Linear) Check(inputs int) error {
	switch {
	case inputs != 1:
		return one(inputs)
	case k.OutFeatures == 0:
		return errors.New("it has no out_features; give a number")
	case k.InFeatures < 1 || k.OutFeatures < 1:
		return fmt.Errorf("%d to %d features: both must be positive", k.InFeatures, k.OutFeatures)
	case k.InFeatures > maxFeatures || k.OutFeatures > maxClasses:
		return fmt.Errorf("%d to %d features: at most %d and %d are taken", k.InFeatures, k.OutFeatures, maxFeatures, maxClasses)
	}
	return checkInits(k.WeightInit, k.BiasInit)
}

// Params implements Kind.
func (k Linear) Params() []Param {
	weight, bias := starts(k.WeightInit, k.BiasInit, k.InFeatures, k.OutFeatures)
	w := param("weight", OI, weight, k.InFeatures, k.OutFeatures)
	if !k.Bias {
		return []Param{w}
	}
	return []Param{w, param("bias", Same, bias, k.OutFeatures)}
}

// Build implements Kind.
func (k Linear) Build(c *Call) *engine.Value {
	in := []*engine.Value{c.In[0], c.Param("weight")}
	if k.Bias {
		in = append(in, c.Param("bias"))
	}
	return c.One(engine.Linear{}, in...)
}

// Tie implements Kind.
func (k Linear) Tie(t *Ties) {
	y := t.New(k.OutFeatures)
	t.Axis("weight", 0, y)
	t.Axis("weight", 1, t.Input(0))
	if k.Bias {
		t.Axis("bias", 0, y)
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Linear) Keep(in [][]int, out []int) (Kind, error) {
	k.InFeatures, k.OutFeatures = count(k.InFeatures, in[0]), count(k.OutFeatures, out)
	return k, nil
}

// sized implements sizer.
func (k Linear) sized(in []engine.Spec, out int) Kind {
	k.InFeatures = fill(k.InFeatures, in)
	if k.OutFeatures == 0 {
		k.OutFeatures = out
	}
	return k
}
