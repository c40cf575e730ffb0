package engine

import "fmt"

// GroupNorm is PyTorch's nn.GroupNorm of x [N,H,W,C] (Wu and He,
// arXiv:1803.08494): in each image the channels g·C/Groups to (g+1)·C/Groups are
// normalized together. Groups must divide C; with Groups = C it is
// nn.InstanceNorm2d(affine=True). With sums over the M = H·W·C/Groups elements of
// a group in an image,
//
//	μ = Σx/M    v = Σ(x-μ)²/M    r = 1/√(v+Eps)    y = (x-μ)·r·γ + β
//
// Inputs: x, γ [C], β [C]. Outputs: y, and μ and r [N,Groups], which are float32
// and serve the gradient; gradients flow through y only.
type GroupNorm struct {
	Groups int
	Eps    float32
}

// Infer implements Op.
func (op GroupNorm) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("%w: takes x, γ and β, got %d inputs", ErrShape, len(in))
	}
	n, _, _, c, ok := in[0].NHWC()
	if !ok || op.Groups < 1 || c%op.Groups != 0 {
		return nil, fmt.Errorf("%w: x must be NHWC with channels in %d groups, got %v", ErrShape, op.Groups, in[0])
	}
	stats := F32(n, op.Groups)
	return []Spec{in[0], stats, stats}, checkLastAxis(in[0], in[1:]...)
}

// Backward implements Differentiable.
func (op GroupNorm) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	if dOut[0] == nil {
		return nil, fmt.Errorf("%w: gradients flow through y only", ErrUnsupported)
	}
	return b.Apply(GroupNormBackward{}, n.In[0], dOut[0], n.In[1], n.Out[1], n.Out[2])[:3], nil
}

// GroupNormBackward is the gradient of GroupNorm. Inputs: x, dy [N,H,W,C], γ [C],
// μ, r [N,Groups]. With x̂ = (x-μ)·r and g = dy·γ:
//
//	dx = r·(g - Σg/M - x̂·Σ(g·x̂)/M)    sums over a group in an image
//	dγ = Σdy·x̂    dβ = Σdy             sums over the pixels of all images
//
// Outputs: dx, dγ, dβ.
type GroupNormBackward struct{}

// Infer implements Op.
func (op GroupNormBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 5 || len(in[0].Shape) != 4 || !in[1].Equal(in[0]) || len(in[3].Shape) != 2 {
		return nil, fmt.Errorf("%w: takes x (NHWC), dy of x's shape, γ, and μ and r of its groups, got %v", ErrShape, in)
	}
	n, groups := in[0].Shape[0], in[3].Shape[1]
	if stats := F32(n, groups); !in[3].Equal(stats) || !in[4].Equal(stats) || groups < 1 || in[0].Shape[3]%groups != 0 {
		return nil, fmt.Errorf("%w: μ %v and r %v of the groups of %v", ErrShape, in[3], in[4], in[0])
	}
	return []Spec{in[0], in[2], in[2]}, checkLastAxis(in[0], in[2])
}
