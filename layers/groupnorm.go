package layers

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() {
	Register(LayerNorm2d{Eps: 1e-5})
	Register(GroupNorm{Eps: 1e-5})
}

// LayerNorm2d is torchvision's LayerNorm2d, PyTorch's nn.LayerNorm over the
// channels of each pixel, affine: [N,H,W,C] to the same, or [N,C] (see
// engine.LayerNorm for the algebra).
//
// Tensors: weight (γ, starts at 1) and bias (β, 0), both [C].
type LayerNorm2d struct {
	NumChannels int     `json:"num_channels"`
	Eps         float64 `json:"eps"`
}

// Check implements Kind.
func (k LayerNorm2d) Check(inputs int) error {
	if inputs != 1 {
		return one(inputs)
	}
	return checkNorm(k.NumChannels, k.Eps)
}

// Params implements Kind.
func (k LayerNorm2d) Params() []Param { return scaleAndShift(k.NumChannels) }

// scaleAndShift are γ and β of a normalization without statistics.
func scaleAndShift(channels int) []Param {
	return []Param{param("weight", Same, Constant(1), channels), param("bias", Same, Constant(0), channels)}
}

// tieScaleAndShift lets the channels through, and γ and β with them.
func tieScaleAndShift(t *Ties) {
	t.Axis("weight", 0, t.Input(0))
	t.Axis("bias", 0, t.Input(0))
	t.Output(t.Input(0))
}

// Build implements Kind.
func (k LayerNorm2d) Build(c *Call) *engine.Value {
	return c.One(engine.LayerNorm{Eps: float32(k.Eps)}, c.In[0], c.Param("weight"), c.Param("bias"))
}

// Tie implements Kind.
func (k LayerNorm2d) Tie(t *Ties) { tieScaleAndShift(t) }

// Keep implements Kind. What is left is normalized by itself: a net that is cut
// before a layer norm is another net than one with zeros.
func (k LayerNorm2d) Keep(in [][]int, _ []int) (Kind, error) {
	k.NumChannels = count(k.NumChannels, in[0])
	return k, nil
}

// sized implements sizer.
func (k LayerNorm2d) sized(in []engine.Spec, _ int) Kind {
	k.NumChannels = fill(k.NumChannels, in)
	return k
}

// GroupNorm is PyTorch's nn.GroupNorm, affine, [N,H,W,C] to the same (see
// engine.GroupNorm for the algebra). With as many groups as channels it is
// nn.InstanceNorm2d(affine=True).
//
// Tensors: weight (γ, starts at 1) and bias (β, 0), both [C].
type GroupNorm struct {
	NumGroups   int     `json:"num_groups"`
	NumChannels int     `json:"num_channels"`
	Eps         float64 `json:"eps"`
}

// Check implements Kind.
func (k GroupNorm) Check(inputs int) error {
	switch {
	case inputs != 1:
		return one(inputs)
	case k.NumGroups == 0:
		return errors.New("it has no num_groups; give a number that divides the channels")
	case k.NumGroups < 1 || k.NumChannels%k.NumGroups != 0:
		return fmt.Errorf("%d channels do not divide into %d groups", k.NumChannels, k.NumGroups)
	}
	return checkNorm(k.NumChannels, k.Eps)
}

// Params implements Kind.
func (k GroupNorm) Params() []Param { return scaleAndShift(k.NumChannels) }

// Build implements Kind.
func (k GroupNorm) Build(c *Call) *engine.Value {
	return c.One(engine.GroupNorm{Groups: k.NumGroups, Eps: float32(k.Eps)}, c.In[0], c.Param("weight"), c.Param("bias"))
}

// instance reports whether each channel is normalized by itself.
func (k GroupNorm) instance() bool { return k.NumGroups == k.NumChannels }

// Tie implements Kind: what has one number in its group is cut alike, so that
// all groups stay equally wide. Where each channel is a group, groups are cut.
func (k GroupNorm) Tie(t *Ties) {
	x := t.Input(0)
	each := k.NumChannels / k.NumGroups
	for g := 1; g < k.NumGroups && !k.instance(); g++ {
		t.Unite(x[:each], x[g*each:(g+1)*each])
	}
	tieScaleAndShift(t)
}

// Keep implements Kind.
func (k GroupNorm) Keep(in [][]int, _ []int) (Kind, error) {
	instance := k.instance()
	k.NumChannels = count(k.NumChannels, in[0])
	if instance {
		k.NumGroups = k.NumChannels
	}
	return k, nil
}

// sized implements sizer.
func (k GroupNorm) sized(in []engine.Spec, _ int) Kind {
	k.NumChannels = fill(k.NumChannels, in)
	return k
}
