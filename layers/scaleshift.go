package layers

import (
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { Register(ScaleShift{Scale: true, Bias: true, Dims: 1, Start: 1}) }

// ScaleShift scales and shifts the channels of [N,H,W,C] or [N,C]:
// y = x·weight + bias. It is what ONNX's graphs do with constants, and ConvNeXt's
// layer scale (Liu et al., arXiv:2201.03545).
//
// Tensors: weight, Start at the start, with Scale, and bias, 0, with Bias; both
// [C], or in PyTorch's shape [C,1,1] with Dims = 3.
type ScaleShift struct {
	Channels int     `json:"channels"`
	Scale    bool    `json:"scale"`
	Bias     bool    `json:"bias"`
	Dims     int     `json:"dims"`
	Start    float64 `json:"init"`
}

// Check implements Kind.
func (k ScaleShift) Check(inputs int) error {
	switch {
	case inputs != 1:
		return one(inputs)
	case !k.Scale && !k.Bias:
		return errors.New("it has neither scale nor bias; leave it out")
	case k.Dims != 1 && k.Dims != 3:
		return fmt.Errorf("dims is %d; it is 1, or 3 for tensors of the shape [C,1,1]", k.Dims)
	case k.Channels < 1 || k.Channels > maxFeatures:
		return fmt.Errorf("%d channels; give a number from 1 to %d", k.Channels, maxFeatures)
	case math.IsInf(float64(float32(k.Start)), 0) || math.IsNaN(k.Start):
		return fmt.Errorf("init is %v; give a number that float32 can hold", k.Start)
	}
	return nil
}

// Params implements Kind.
func (k ScaleShift) Params() []Param {
	layout := Same
	if k.Dims == 3 {
		layout = C11
	}
	var params []Param
	if k.Scale {
		params = append(params, param("weight", layout, Constant(k.Start), k.Channels))
	}
	if k.Bias {
		params = append(params, param("bias", layout, Constant(0), k.Channels))
	}
	return params
}

// Build implements Kind.
func (k ScaleShift) Build(c *Call) *engine.Value {
	in := []*engine.Value{c.In[0]}
	for _, p := range k.Params() {
		in = append(in, c.Param(p.Role))
	}
	return c.One(engine.ScaleShift{Scale: k.Scale, Shift: k.Bias}, in...)
}

// Tie implements Kind.
func (k ScaleShift) Tie(t *Ties) {
	for _, p := range k.Params() {
		t.Axis(p.Role, 0, t.Input(0))
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k ScaleShift) Keep(in [][]int, _ []int) (Kind, error) {
	k.Channels = count(k.Channels, in[0])
	return k, nil
}

// sized implements sizer.
func (k ScaleShift) sized(in []engine.Spec, _ int) Kind {
	k.Channels = fill(k.Channels, in)
	return k
}
