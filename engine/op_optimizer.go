package engine

import "fmt"

// The optimizer ops move all parameters of a net in one step of the plan. What
// changes from step to step arrives in hyper, a float32 vector bound at every
// run, so that a recorded plan can be replayed.
//
// Each takes, in this order: hyper, scale (a scalar that every gradient is
// multiplied by: gradient clipping, see ClipScale), then the K parameters, the K
// gradients, and its state, K tensors a kind. Its outputs are the parameters
// and the state, in place.

// HyperLen is the length of the hyper vector of every optimizer op.
const HyperLen = 8

// The places in hyper.
const (
	HyperLR          = iota // learning rate
	HyperWeightDecay        // weight decay
	HyperBias1              // Adam: 1 - β1^t
	HyperBias2              // Adam: 1 - β2^t
	HyperFirst              // SGD: 1 at the first step (the momentum buffer is empty), else 0
)

// optimizerSpecs checks the inputs hyper, scale, then `kinds` groups of K.
func optimizerSpecs(in []Spec, kinds, k int) error {
	if k < 1 || len(in) != 2+kinds*k {
		return fmt.Errorf("%w: %d parameters need %d inputs, got %d", ErrShape, k, 2+kinds*k, len(in))
	}
	if !in[0].Equal(F32(HyperLen)) || in[1].Len() != 1 {
		return fmt.Errorf("%w: hyper is %v, scale %v", ErrShape, in[0], in[1])
	}
	for i := 2; i < len(in); i++ {
		if p := in[2+(i-2)%k]; !in[i].Equal(p) || p.DType != Float32 {
			return fmt.Errorf("%w: input %d is %v, its parameter %v", ErrShape, i, in[i], p)
		}
	}
	return nil
}

// Adam is torch.optim.Adam, or with Decoupled torch.optim.AdamW (Loshchilov
// and Hutter, arXiv:1711.05101), for K parameters p with gradients g and
// moments m, v:
//
//	g ← scale·g                     (and, not Decoupled, g ← g + λ·p)
//	p ← p - lr·λ·p                  (Decoupled only)
//	m ← β1·m + (1-β1)·g     v ← β2·v + (1-β2)·g²
//	p ← p - lr/(1-β1^t) · m/(√v/√(1-β2^t) + ε)
//
// Inputs: hyper, scale, K×p, K×g, K×m, K×v. Outputs: K×p, K×m, K×v, in place.
type Adam struct {
	K                 int
	Beta1, Beta2, Eps float32
	Decoupled         bool
}

// Infer implements Op.
func (op Adam) Infer(in []Spec) ([]Spec, error) {
	if err := optimizerSpecs(in, 4, op.K); err != nil {
		return nil, err
	}
	return append(append([]Spec(nil), in[2:2+op.K]...), in[2+2*op.K:]...), nil
}

// Alias implements Updater.
func (op Adam) Alias(i int) int {
	if i < op.K {
		return 2 + i
	}
	return 2 + op.K + i
}

// SGD is torch.optim.SGD with momentum μ, for K parameters p with gradients g
// and momentum buffers b (left out if Momentum is zero):
//
//	g ← scale·g + λ·p
//	b ← g at the first step, else μ·b + g
//	d = g + μ·b (Nesterov), b (momentum) or g (neither)
//	p ← p - lr·d
//
// Inputs: hyper, scale, K×p, K×g and, with momentum, K×b. Outputs: K×p, K×b, in place.
type SGD struct {
	K        int
	Momentum float32
	Nesterov bool
}

func (op SGD) kinds() int {
	if op.Momentum != 0 {
		return 3
	}
	return 2
}

// Infer implements Op.
func (op SGD) Infer(in []Spec) ([]Spec, error) {
	if err := optimizerSpecs(in, op.kinds(), op.K); err != nil {
		return nil, err
	}
	return append(append([]Spec(nil), in[2:2+op.K]...), in[2+2*op.K:]...), nil
}

// Alias implements Updater.
func (op SGD) Alias(i int) int {
	if i < op.K {
		return 2 + i
	}
	return 2 + op.K + i
}

// ClipScale is the factor of torch.nn.utils.clip_grad_norm_. Inputs: any
// number of gradients g_k. Outputs, both scalars:
//
//	norm = √(Σ_k Σ g_k²)    scale = min(1, MaxNorm/(norm+1e-6))
//
// MaxNorm = 0 does not clip: scale is 1, and norm is measured.
type ClipScale struct{ MaxNorm float32 }

// Infer implements Op.
func (op ClipScale) Infer(in []Spec) ([]Spec, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("%w: takes gradients, got none", ErrShape)
	}
	return []Spec{F32(), F32()}, nil
}

// Accumulate adds gradients up over several small batches. Inputs: first (a
// scalar, 1 at the first of them, else 0), K gradients, K accumulators.
// Outputs, in place: the accumulators,
//
//	a ← (1-first)·a + Weight·g       (first = 1 discards what a held, NaN too)
//
// The backends in float32 round Weight·g before it is added, so that it does not matter for the
// bits of the sum whether it is added here or by an AllReduce. The reference, which computes
// in float64, does not.
type Accumulate struct {
	K      int
	Weight float32
}

// Infer implements Op.
func (op Accumulate) Infer(in []Spec) ([]Spec, error) {
	if err := pairSpecs(in, op.K); err != nil {
		return nil, err
	}
	return in[1+op.K:], nil
}

// Alias implements Updater.
func (op Accumulate) Alias(i int) int { return 1 + op.K + i }

// EMA keeps exponential moving averages. Inputs: decay (a scalar), K values x,
// K averages e. Outputs, in place: e ← decay·e + (1-decay)·x.
type EMA struct{ K int }

// Infer implements Op.
func (op EMA) Infer(in []Spec) ([]Spec, error) {
	if err := pairSpecs(in, op.K); err != nil {
		return nil, err
	}
	return in[1+op.K:], nil
}

// Alias implements Updater.
func (op EMA) Alias(i int) int { return 1 + op.K + i }

// pairSpecs checks the inputs scalar, K×x, K×y.
func pairSpecs(in []Spec, k int) error {
	if k < 1 || len(in) != 1+2*k || in[0].Len() != 1 {
		return fmt.Errorf("%w: takes a scalar and two groups of %d, got %d inputs", ErrShape, k, len(in))
	}
	for i := 1; i <= k; i++ {
		if !in[i].Equal(in[i+k]) || in[i].DType != Float32 {
			return fmt.Errorf("%w: %v beside %v", ErrShape, in[i], in[i+k])
		}
	}
	return nil
}
