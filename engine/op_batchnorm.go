package engine

import "fmt"

// BatchNorm is PyTorch's nn.BatchNorm2d over the channels of x [N,H,W,C], with
// M = N·H·W elements a channel (Ioffe and Szegedy, arXiv:1502.03167).
//
// Inputs: x, γ [C], β [C], running mean [C], running variance [C].
//
// With Train, the batch's own statistics are used and the running ones moved:
//
//	μ = Σx/M    v = Σ(x-μ)²/M    r = 1/√(v+Eps)    y = (x-μ)·r·γ + β
//	running mean ← (1-Momentum)·running mean + Momentum·μ
//	running var  ← (1-Momentum)·running var  + Momentum·v·M/(M-1)
//
// where the backends in float32 round μ and v·M/(M-1) first (see MoveStatistics).
//
// Outputs: y, μ [C], r [C], running mean, running variance (the last two in
// the variables' own memory). As in PyTorch, M = 1 is refused.
//
// Without Train: y = (x-running mean)/√(running var+Eps)·γ + β, the only output.
type BatchNorm struct {
	Eps, Momentum float32
	Train         bool
}

func batchNormSpecs(in []Spec) (c int, err error) {
	if len(in) != 5 {
		return 0, fmt.Errorf("%w: takes x, γ, β, running mean and variance, got %d inputs", ErrShape, len(in))
	}
	_, _, _, c, ok := in[0].NHWC()
	if !ok {
		return 0, fmt.Errorf("%w: x must be NHWC", ErrShape)
	}
	for _, s := range in[1:] {
		if !s.Equal(F32(c)) {
			return 0, fmt.Errorf("%w: %v for %d channels", ErrShape, s, c)
		}
	}
	return c, checkActivations(in[0])
}

// Infer implements Op.
func (op BatchNorm) Infer(in []Spec) ([]Spec, error) {
	c, err := batchNormSpecs(in)
	if err != nil {
		return nil, err
	}
	if !op.Train {
		return []Spec{in[0]}, nil
	}
	if in[0].Len() == c {
		return nil, fmt.Errorf("%w: training needs more than one value a channel, x is %v", ErrShape, in[0])
	}
	return []Spec{in[0], F32(c), F32(c), F32(c), F32(c)}, nil
}

// Alias implements Updater: the running statistics are moved in place.
func (op BatchNorm) Alias(i int) int {
	if i >= 3 {
		return i
	}
	return -1
}

// Backward implements Differentiable.
func (op BatchNorm) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	if dOut[0] == nil {
		return nil, fmt.Errorf("%w: gradients flow through y only", ErrUnsupported)
	}
	var d []*Value
	if op.Train {
		d = b.Apply(BatchNormBackward{}, n.In[0], dOut[0], n.In[1], n.Out[1], n.Out[2])
	} else {
		d = b.Apply(BatchNormEvalBackward{Eps: op.Eps}, n.In[0], dOut[0], n.In[1], n.In[3], n.In[4])
	}
	return d[:3], nil
}

func batchNormBackwardSpecs(in []Spec) ([]Spec, error) {
	if len(in) != 5 || len(in[0].Shape) != 4 || !in[1].Equal(in[0]) {
		return nil, fmt.Errorf("%w: takes x, dy of x's shape and three vectors of its channels, got %v", ErrShape, in)
	}
	c := F32(in[0].Shape[3])
	for _, s := range in[2:] {
		if !s.Equal(c) {
			return nil, fmt.Errorf("%w: %v for %v channels", ErrShape, s, c)
		}
	}
	return []Spec{in[0], c, c}, checkActivations(in[0])
}

// BatchNormBackward is the gradient of BatchNorm in training. Inputs: x, dy
// [N,H,W,C], γ, μ, r [C]. With x̂ = (x-μ)·r:
//
//	dβ = Σdy    dγ = Σdy·x̂    dx = γ·r·(dy - dβ/M - x̂·dγ/M)
//
// Outputs: dx, dγ, dβ.
type BatchNormBackward struct{}

// Infer implements Op.
func (op BatchNormBackward) Infer(in []Spec) ([]Spec, error) { return batchNormBackwardSpecs(in) }

// BatchNormEvalBackward is the gradient of BatchNorm with frozen statistics.
// Inputs: x, dy [N,H,W,C], γ, running mean, running variance [C]. With
// r = 1/√(running var+Eps):
//
//	dx = dy·γ·r    dγ = Σdy·(x-running mean)·r    dβ = Σdy
//
// Outputs: dx, dγ, dβ.
type BatchNormEvalBackward struct{ Eps float32 }

// Infer implements Op.
func (op BatchNormEvalBackward) Infer(in []Spec) ([]Spec, error) { return batchNormBackwardSpecs(in) }

// FoldBatchNorm folds a BatchNorm without Train into the convolution before
// it. Inputs: w [KH,KW,I,O], b [O], γ, β, running mean, running variance [O];
// b is left out without Bias. Outputs:
//
//	w'[u,v,i,o] = w[u,v,i,o]·s[o]    b'[o] = (b[o]-mean[o])·s[o] + β[o]    s = γ/√(var+Eps)
//
// The planner makes this op; its outputs depend on variables only.
type FoldBatchNorm struct {
	Eps  float32
	Bias bool
}

// Infer implements Op.
func (op FoldBatchNorm) Infer(in []Spec) ([]Spec, error) {
	want := 5
	if op.Bias {
		want = 6
	}
	if len(in) != want || len(in[0].Shape) != 4 {
		return nil, fmt.Errorf("%w: takes w (HWIO) and %d vectors, got %v", ErrShape, want-1, in)
	}
	c := F32(in[0].Shape[3])
	for _, s := range in[1:] {
		if !s.Equal(c) {
			return nil, fmt.Errorf("%w: %v for %v channels", ErrShape, s, c)
		}
	}
	return []Spec{in[0], c}, checkWeight(in[0])
}
