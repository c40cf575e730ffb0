package layers

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	Register(LocalResponseNorm{Alpha: 1e-4, Beta: 0.75, K: 1})
	Register(InstanceNorm2d{Eps: 1e-5})
}

// LocalResponseNorm is PyTorch's nn.LocalResponseNorm over neighboring channels
// (see engine.LocalResponseNorm for the algebra).
type LocalResponseNorm struct {
	unary
	Size  int     `json:"size"`
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
	K     float64 `json:"k"`
}

// Check implements Kind.
func (k LocalResponseNorm) Check(inputs int) error {
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(float64(float32(x)), 0) }
	switch {
	case inputs != 1:
		return one(inputs)
	case k.Size < 1 || k.Size > maxWidth:
		return fmt.Errorf("a size of %d channels; give a number from 1 to %d", k.Size, maxWidth)
	case !(k.Alpha >= 0) || !(k.Beta >= 0) || !(float32(k.K) > 0) || !finite(k.Alpha) || !finite(k.Beta) || !finite(k.K):
		return fmt.Errorf("alpha %g, beta %g, k %g: k must be positive, and none negative or beyond float32", k.Alpha, k.Beta, k.K)
	}
	return nil
}

// Build implements Kind.
func (k LocalResponseNorm) Build(c *Call) *engine.Value {
	return c.One(engine.LocalResponseNorm{Size: k.Size, Alpha: float32(k.Alpha), Beta: float32(k.Beta), K: float32(k.K)}, c.In[0])
}

// Tie implements Kind: who is whose neighbor must stay as it is.
func (k LocalResponseNorm) Tie(t *Ties) {
	if k.Size > 1 {
		t.Fix(t.Input(0), "a LocalResponseNorm sums over neighboring channels")
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k LocalResponseNorm) Keep([][]int, []int) (Kind, error) { return k, nil }

// InstanceNorm2d is PyTorch's nn.InstanceNorm2d without running statistics: each
// channel of each image is normalized by itself, [N,H,W,C] to the same (see
// engine.GroupNorm for the algebra).
//
// Tensors, with Affine: weight (γ, starts at 1) and bias (β, 0), both [C].
type InstanceNorm2d struct {
	NumFeatures int     `json:"num_features"`
	Eps         float64 `json:"eps"`
	Affine      bool    `json:"affine"`
}

// Check implements Kind.
func (k InstanceNorm2d) Check(inputs int) error {
	if inputs != 1 {
		return one(inputs)
	}
	return checkNorm(k.NumFeatures, k.Eps)
}

// Params implements Kind.
func (k InstanceNorm2d) Params() []Param {
	if !k.Affine {
		return nil
	}
	return scaleAndShift(k.NumFeatures)
}

// Build implements Kind.
func (k InstanceNorm2d) Build(c *Call) *engine.Value {
	op := engine.GroupNorm{Groups: k.NumFeatures, Eps: float32(k.Eps)}
	if k.Affine {
		return c.One(op, c.In[0], c.Param("weight"), c.Param("bias"))
	}
	shape := []int{k.NumFeatures}
	return c.One(op, c.In[0], c.One(engine.Fill{Value: 1, Shape: shape}), c.One(engine.Fill{Shape: shape}))
}

// Tie implements Kind.
func (k InstanceNorm2d) Tie(t *Ties) {
	if k.Affine {
		tieScaleAndShift(t)
		return
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k InstanceNorm2d) Keep(in [][]int, _ []int) (Kind, error) {
	k.NumFeatures = count(k.NumFeatures, in[0])
	return k, nil
}

// sized implements sizer.
func (k InstanceNorm2d) sized(in []engine.Spec, _ int) Kind {
	k.NumFeatures = fill(k.NumFeatures, in)
	return k
}
