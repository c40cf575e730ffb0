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

// doubles returns n of them at p.
func doubles(p unsafe.Pointer, n int) []float64 { return unsafe.Slice((*float64)(p), n) }

// hostFloats returns n floats at p.
func hostFloats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n) }

// mergeParts returns the mean of each channel and the squares about it, of what bn_stats has
// left: for each task those of its rows.
func mergeParts(a bnArgs, part []float64) engine.Moments {
	c := int(a.c)
	m := engine.Moments{N: int(a.m), A: make([]float64, c), B: make([]float64, c)}
	for t := range int(a.tasks) {
		n := float64(t) * float64(a.rows)
		count := min(float64(a.rows), float64(a.m)-n)
		theirs := part[t*2*c:]
		for k := range c {
			d, total := theirs[k]-m.A[k], n+count
			m.A[k] += d * count / total
			m.B[k] += theirs[c+k] + d*d*n*count/total
		}
	}
	return m
}

// lowerSyncBatchNorm lowers SyncBatchNorm to BatchNorm's kernels, with an exchange between
// the statistics and what is made of them.
func lowerSyncBatchNorm(op engine.SyncBatchNorm, x engine.Spec) (int, lowering, error) {
	apply := bnGeometry(x, engine.Identity, nil)
	stats := bnGeometry(x, engine.Identity, nil)
	c := int(stats.c)
	return 8 * 2 * int(stats.tasks) * c, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		s := stats
		s.x, s.part = at(in[0]), ws
		push(q, kBNStats.of(in[0].DType), int(s.tasks), s)
		mu, r := hostFloats(at(out[1]), c), hostFloats(at(out[2]), c)
		running := [2][]float32{hostFloats(at(out[3]), c), hostFloats(at(out[4]), c)}
		q.exchange(func() error {
			return op.Exchange(mergeParts(s, doubles(ws, 2*int(s.tasks)*c)), running, mu, r)
		}, false)
		a := apply
		a.x, a.gamma, a.beta, a.mu, a.r, a.y = s.x, at(in[1]), at(in[2]), at(out[1]), at(out[2]), at(out[0])
		push(q, kBNApply.of(in[0].DType), int(a.tasks), a)
	}, nil
}

// lowerSyncBatchNormBackward lowers the gradient in the same way: see bn_grad_finish.
func lowerSyncBatchNormBackward(op engine.SyncBatchNormBackward, x engine.Spec) (int, lowering, error) {
	base := bnGeometry(x, engine.Identity, nil)
	part, total := bnGradWorkspace(base)
	c := int(base.c)
	return total, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.part, a.coef = at(in[0]), at(in[1]), ws, unsafe.Add(ws, part)
		a.gamma, a.beta, a.mu, a.r = at(in[2]), at(in[2]), at(in[3]), at(in[4])
		a.y, a.dgamma, a.dbeta = at(out[0]), at(out[1]), at(out[2])
		push(q, kBNGrad.of(in[0].DType), int(a.tasks), a)
		gamma, r := hostFloats(at(in[2]), c), hostFloats(at(in[4]), c)
		dGamma, dBeta, coef := hostFloats(at(out[1]), c), hostFloats(at(out[2]), c), hostFloats(a.coef, 3*c)
		q.exchange(func() error {
			m := engine.Moments{N: int(a.m), A: make([]float64, c), B: make([]float64, c)}
			sums := doubles(ws, 2*int(a.tasks)*c)
			for t := range int(a.tasks) {
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
