package engine

import "fmt"

// LayerNorm is PyTorch's nn.LayerNorm over the channels, the last axis, of
// x [N,H,W,C] or [N,C] (Ba, Kiros and Hinton, arXiv:1607.06450): each pixel is
// normalized by itself, as ConvNeXt's LayerNorm2d does. With sums over its C
// channels,
//
//	μ = Σx/C    v = Σ(x-μ)²/C    r = 1/√(v+Eps)    y = (x-μ)·r·γ + β
//
// Inputs: x, γ [C], β [C]. Output: y, of x's shape.
type LayerNorm struct{ Eps float32 }

// Infer implements Op.
func (op LayerNorm) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("%w: takes x, γ and β, got %d inputs", ErrShape, len(in))
	}
	return []Spec{in[0]}, checkLastAxis(in[0], in[1:]...)
}

// checkLastAxis makes sure that the vectors have an element for each of x's channels.
func checkLastAxis(x Spec, vectors ...Spec) error {
	_, c, err := lastAxis(x)
	if err != nil {
		return err
	}
	for _, s := range vectors {
		if !s.Equal(F32(c)) {
			return fmt.Errorf("%w: %v for %d channels", ErrShape, s, c)
		}
	}
	return nil
}

// Backward implements Differentiable.
func (op LayerNorm) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return b.Apply(LayerNormBackward(op), n.In[0], dOut[0], n.In[1])[:3], nil
}

// LayerNormBackward is the gradient of LayerNorm. Inputs: x, dy of x's shape,
// γ [C]. With μ and r as there, computed again, and x̂ = (x-μ)·r, g = dy·γ:
//
//	dx = r·(g - Σg/C - x̂·Σ(g·x̂)/C)    sums over the channels of a pixel
//	dγ = Σdy·x̂    dβ = Σdy             sums over the pixels
//
// Outputs: dx, dγ, dβ.
type LayerNormBackward struct{ Eps float32 }

// Infer implements Op.
func (op LayerNormBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 || !in[1].Equal(in[0]) {
		return nil, fmt.Errorf("%w: takes x, dy of x's shape and γ, got %v", ErrShape, in)
	}
	return []Spec{in[0], in[2], in[2]}, checkLastAxis(in[0], in[2])
}
