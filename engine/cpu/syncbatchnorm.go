package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiled(func(op engine.SyncBatchNorm, in, _ []engine.Spec) (int, lowering, error) {
		return lowerSyncBatchNorm(op, in[0])
	})
	lowersCompiled(func(op engine.SyncBatchNormBackward, in, _ []engine.Spec) (int, lowering, error) {
		return lowerSyncBatchNormBackward(op, in[0])
	})
}

// ofBatch returns the mean and Σ(x-mean)² of each channel, from what bn_stats has left.
func (a *bnArgs) ofBatch() engine.Moments {
	part := f64(a.part, a.tasks*2*a.c)
	m := engine.Moments{N: int(a.m), A: make([]float64, a.c), B: make([]float64, a.c)}
	for c := range a.c {
		m.A[c], m.B[c] = a.moments(part, c)
	}
	return m
}

// lowerSyncBatchNorm lowers SyncBatchNorm to BatchNorm's kernels, with an exchange between
// the statistics and what is made of them.
func lowerSyncBatchNorm(op engine.SyncBatchNorm, x engine.Spec) (int, lowering, error) {
	base := bnGeometry(x, engine.Identity, nil)
	c := base.c
	return int(8 * 2 * base.tasks * c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.part = at(in[0]), ws
		push(q, kBNStats.of(in[0].DType), int(a.tasks), a)
		mu, r := f32(at(out[1]), c), f32(at(out[2]), c)
		running := [2][]float32{f32(at(out[3]), c), f32(at(out[4]), c)}
		q.exchange(func() error {
			return op.Exchange(a.ofBatch(), running, mu, r)
		}, false)
		a.gamma, a.beta, a.mu, a.r, a.y = at(in[1]), at(in[2]), at(out[1]), at(out[2]), at(out[0])
		push(q, kBNApply.of(in[0].DType), int(a.tasks), a)
	}, nil
}

// lowerSyncBatchNormBackward lowers the gradient in the same way: see bn_grad_finish.
func lowerSyncBatchNormBackward(op engine.SyncBatchNormBackward, x engine.Spec) (int, lowering, error) {
	base := bnGeometry(x, engine.Identity, nil)
	part, total := bnGradWorkspace(base)
	c := base.c
	return total, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.part, a.coef = at(in[0]), at(in[1]), ws, unsafe.Add(ws, part)
		a.gamma, a.beta, a.mu, a.r = at(in[2]), at(in[2]), at(in[3]), at(in[4])
		a.y, a.dgamma, a.dbeta = at(out[0]), at(out[1]), at(out[2])
		push(q, kBNGrad.of(in[0].DType), int(a.tasks), a)
		gamma, r := f32(at(in[2]), c), f32(at(in[4]), c)
		dGamma, dBeta, coef := f32(at(out[1]), c), f32(at(out[2]), c), f32(a.coef, 3*c)
		q.exchange(func() error {
			m := engine.Moments{N: int(a.m), A: make([]float64, c), B: make([]float64, c)}
			sums := f64(ws, a.tasks*2*c)
			for t := range a.tasks {
				for k := range c {
					m.A[k] += sums[t*2*c+k]
					m.B[k] += sums[(t*2+1)*c+k]
				}
			}
			for k := range c {
				dGamma[k], dBeta[k] = float32(m.B[k]*float64(r[k])), float32(m.A[k])
			}
			if err := op.Exchange(m); err != nil {
				return err
			}
			for k := range c {
				g, rk := float64(gamma[k]), float64(r[k])
				coef[k] = float32(g * rk)
				coef[c+k] = float32(-g * rk * rk * rk * m.B[k])
				coef[2*c+k] = float32(-g * rk * m.A[k])
			}
			return nil
		}, false)
		push(q, kBNGradApply.of(in[0].DType), int(a.tasks), a)
	}, nil
}
