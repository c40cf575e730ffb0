package layers

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

// BatchNorm2d is PyTorch's nn.BatchNorm2d, affine, with running statistics of
// the unbiased variance (see engine.BatchNorm for the algebra).
//
// Tensors: weight (γ, starts at 1), bias (β, 0), running_mean (0),
// running_var (1), all [C], and num_batches_tracked, a scalar int64 that the
// graph never touches.
type BatchNorm2d struct {
	NumFeatures int     `json:"num_features"`
	Eps         float64 `json:"eps"`
	Momentum    float64 `json:"momentum"`
}

func init() { Register(BatchNorm(0)) }

// BatchNorm returns a batch normalization of the given channels with PyTorch's
// defaults: eps 1e-5, momentum 0.1.
func BatchNorm(channels int) BatchNorm2d {
	return BatchNorm2d{NumFeatures: channels, Eps: 1e-5, Momentum: 0.1}
}

// Check implements Kind.
func (k BatchNorm2d) Check(inputs int) error {
	if inputs != 1 {
		return one(inputs)
	}
	if !(k.Momentum >= 0 && k.Momentum <= 1) {
		return fmt.Errorf("momentum %g; give a number from 0 to 1", k.Momentum)
	}
	return checkNorm(k.NumFeatures, k.Eps)
}

// checkNorm looks at what all normalizations have.
func checkNorm(channels int, eps float64) error {
	switch {
	case channels < 1:
		return fmt.Errorf("%d channels: at least one is needed", channels)
	case channels > maxWidth:
		return fmt.Errorf("%d channels: at most %d are taken", channels, maxWidth)
	case !(float32(eps) > 0) || math.IsInf(float64(float32(eps)), 0): // it is added in float32
		return fmt.Errorf("eps %g; give a positive number that float32 can hold, as 1e-5", eps)
	}
	return nil
}

// Params implements Kind.
func (k BatchNorm2d) Params() []Param {
	buffer := func(role string, start float64) Param {
		p := param(role, Same, Constant(start), k.NumFeatures)
		p.Buffer = true
		return p
	}
	return []Param{
		param("weight", Same, Constant(1), k.NumFeatures),
		param("bias", Same, Constant(0), k.NumFeatures),
		buffer("running_mean", 0),
		buffer("running_var", 1),
		{Role: "num_batches_tracked", Spec: engine.Spec{DType: engine.Int64}, Buffer: true},
	}
}

// Build implements Kind: [N,H,W,C] to the same.
func (k BatchNorm2d) Build(c *Call) *engine.Value {
	return c.One(engine.BatchNorm{Eps: float32(k.Eps), Momentum: float32(k.Momentum), Train: c.Train},
		c.In[0], c.Param("weight"), c.Param("bias"), c.Param("running_mean"), c.Param("running_var"))
}

// Tie implements Kind.
func (k BatchNorm2d) Tie(t *Ties) {
	for _, role := range []string{"weight", "bias", "running_mean", "running_var"} {
		t.Axis(role, 0, t.Input(0))
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k BatchNorm2d) Keep(in [][]int, _ []int) (Kind, error) {
	k.NumFeatures = count(k.NumFeatures, in[0])
	return k, nil
}

// sized implements sizer.
func (k BatchNorm2d) sized(in []engine.Spec, _ int) Kind {
	k.NumFeatures = fill(k.NumFeatures, in)
	return k
}
