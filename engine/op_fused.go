package engine

import "fmt"

// BatchNormAct is what the planner makes of BatchNorm (training), an
// activation and, with Pool, a max pool behind it: one pass for the statistics
// and one that writes the result. Its outputs are the BatchNorm's, with
// y = pool(f(BatchNorm(x))); the tensors in between never exist.
type BatchNormAct struct {
	BatchNorm BatchNorm
	F         Act
	Pool      *Window // nil: no pooling
	// Keep, with Pool and in training, has one output more: the x that won each window, of y's shape
	// and type, which the gradient reads for its sums in the place of all of x.
	Keep bool
}

// Infer implements Op.
func (op BatchNormAct) Infer(in []Spec) ([]Spec, error) {
	out, err := op.BatchNorm.Infer(in)
	err = firstError(err, op.F.check())
	if err == nil && op.Pool != nil {
		out[0], err = op.Pool.infer(out[0])
	}
	if err == nil && op.Keep {
		if op.Pool == nil || !op.BatchNorm.Train {
			return nil, fmt.Errorf("%w: what won is kept of a pool, and for a gradient", ErrShape)
		}
		out = append(out, out[0])
	}
	return out, err
}

// Alias implements Updater: the running statistics are moved in place.
func (op BatchNormAct) Alias(i int) int {
	if op.Keep && i == 5 {
		return -1
	}
	return op.BatchNorm.Alias(i)
}

// BatchNormActBackward is the gradient of BatchNormAct. Inputs: x [N,H,W,C],
// dy of BatchNormAct's output, γ, β, μ, r [C]. It computes BatchNorm(x) again
// to know the activation's slope and each window's winner. With Kept the winners that
// BatchNormAct has kept are its seventh input. Outputs: dx, dγ, dβ.
type BatchNormActBackward struct {
	F    Act
	Pool *Window
	Kept bool
}

// Infer implements Op.
func (op BatchNormActBackward) Infer(in []Spec) ([]Spec, error) {
	inputs := 6
	if op.Kept {
		inputs = 7
	}
	if len(in) != inputs || len(in[0].Shape) != 4 {
		return nil, fmt.Errorf("%w: takes x, dy, γ, β, μ, r and, if it was kept, what won, got %v", ErrShape, in)
	}
	y := in[0]
	if op.Pool != nil {
		var err error
		if y, err = op.Pool.infer(y); err != nil {
			return nil, err
		}
	}
	c := F32(in[0].Shape[3])
	if !in[1].Equal(y) {
		return nil, fmt.Errorf("%w: dy is %v, y was %v", ErrShape, in[1], y)
	}
	if op.Kept && (op.Pool == nil || !in[6].Equal(y)) {
		return nil, fmt.Errorf("%w: what won is %v, y was %v", ErrShape, in[6], y)
	}
	for _, s := range in[2:6] {
		if !s.Equal(c) {
			return nil, fmt.Errorf("%w: %v for %v channels", ErrShape, s, c)
		}
	}
	return []Spec{in[0], c, c}, firstError(op.F.check(), checkActivations(in[0]))
}
