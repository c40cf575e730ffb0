package cpu

import (
	"fmt"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiled(func(op engine.BatchNorm, in, _ []engine.Spec) (int, lowering, error) {
		return lowerBatchNorm(op, in[0], engine.Identity, nil)
	})
	lowersCompiled(func(op engine.BatchNormAct, in, _ []engine.Spec) (int, lowering, error) {
		return lowerBatchNorm(op.BatchNorm, in[0], op.F, op.Pool)
	})
	lowersCompiled(func(_ engine.BatchNormBackward, in, _ []engine.Spec) (int, lowering, error) {
		return lowerBatchNormBackward(in[0], engine.Identity, nil, bnPlain)
	})
	lowersCompiled(func(op engine.BatchNormActBackward, in, _ []engine.Spec) (int, lowering, error) {
		return lowerBatchNormBackward(in[0], op.F, op.Pool, bnFused)
	})
	lowersCompiled(func(op engine.BatchNormEvalBackward, in, _ []engine.Spec) (int, lowering, error) {
		return lowerBatchNormEvalBackward(op, in[0])
	})
	lowersAlone(func(op engine.FoldBatchNorm, in, _ []engine.Spec) lowering { return lowerFoldBatchNorm(op, in[0]) })
}

// bnGeometry fills in the sizes, and how rows are cut into tasks: over pixels,
// or over rows of the pooled picture.
func bnGeometry(x engine.Spec, act engine.Act, w *engine.Window) bnArgs {
	n, h, wd, c, _ := x.NHWC()
	a := bnArgs{n: int64(n), h: int64(h), w: int64(wd), c: int64(c), m: int64(n * h * wd)}
	a.act, a.more = splitAct(act)
	if act.FromX() {
		a.fromX = 1
	}
	units, floatsEach := n*h*wd, c
	if w != nil && w.Kernel[0] > 1 {
		k := w.Kernel[0] // square: see fusesPool
		a.kernel, a.oh, a.ow = int64(k), int64(h/k), int64(wd/k)
		units, floatsEach = n*int(a.oh), k*wd*c
	}
	a.rows, a.tasks = taskRows(units, floatsEach)
	return a
}

// moments returns the mean of channel c and Σ(x-mean)², from what bn_stats leaves of each task's
// rows: part has, for each task, the means of all channels and then the squares about them.
func (a *bnArgs) moments(part []float64, c int64) (mean, squares float64) {
	for t := range a.tasks {
		lo, hi := taskRange(t, a.rows, a.m)
		merge(&mean, &squares, lo, hi-lo, part[t*2*a.c+c], part[(t*2+1)*a.c+c])
	}
	return mean, squares
}

// merge adds count values with their mean and centered squares to n values with
// theirs (Chan, Golub and LeVeque, 1979).
func merge(mu, m2 *float64, n, count int64, mean, sq float64) {
	d, total := mean-*mu, float64(n+count)
	*mu += d * float64(count) / total
	*m2 += sq + d*d*float64(n)*float64(count)/total
}

// bnActFloats are BNA_FLOATS of batchnorm_act.h, bnActPool is BNA_POOL.
const (
	bnActFloats = 4096
	bnActPool   = 4
)

// kernelOf returns the kernel for the activation: one with those of simd.h, or one
// with any.
func (a *bnArgs) kernelOf(inline, any kernelID) kernelID {
	if a.more.f != 0 {
		return any
	}
	return inline
}

// blockScratch chooses the blocks of activations that are not taken in registers,
// and returns the bytes that all tasks' blocks take.
func (a *bnArgs) blockScratch() int {
	if a.more.f == 0 || a.kernel > 1 {
		return 0
	}
	a.block = max(bnActFloats, a.c)
	return 4 * 3 * int(a.tasks*a.block)
}

// applyScratch is blockScratch for the forward pass, which makes float32 in place.
func (a *bnArgs) applyScratch(stored engine.DType) int {
	if stored == engine.Float32 {
		return 0
	}
	return a.blockScratch()
}

// taskRows cuts `units` of some floats each into tasks of about 64 K floats, at
// most 64 tasks: partial results are kept for each.
func taskRows(units, floatsEach int) (rows, tasks int64) {
	r := max(1, (1<<16)/max(floatsEach, 1), ceilDiv(units, 64))
	return int64(r), int64(ceilDiv(units, r))
}

// spreadRows is taskRows for passes that keep no partial results: tasks of about
// 16 K floats, and where there are few, so many that no thread waits long for the
// others.
func spreadRows(units, floatsEach int) (rows, tasks int64) {
	const most, least, few = 1 << 14, 1 << 11, 8
	r := min(most/max(floatsEach, 1), ceilDiv(units, few))
	r = max(r, least/max(floatsEach, 1), ceilDiv(units, 1024), 1)
	return int64(r), int64(ceilDiv(units, r))
}

// errPool is the answer to fused pooling in windows that do not tile, or are large.
func errPool(w *engine.Window) error {
	return fmt.Errorf("fused pooling with window %+v: %w", *w, engine.ErrUnsupported)
}

func lowerBatchNorm(op engine.BatchNorm, x engine.Spec, act engine.Act, w *engine.Window) (int, lowering, error) {
	if !fusesPool(act, w) {
		return 0, nil, errPool(w)
	}
	apply := bnGeometry(x, act, w)
	apply.eps = float64(op.Eps)
	applyScratch := apply.applyScratch(x.DType)
	if !op.Train {
		apply.eval = 1
		return applyScratch, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := apply
			a.scratch = ws
			a.x, a.gamma, a.beta, a.mean, a.variance, a.y = at(in[0]), at(in[1]), at(in[2]), at(in[3]), at(in[4]), at(out[0])
			push(q, a.kernelOf(kBNApply, kBNApplyAct).of(in[0].DType), int(a.tasks), a)
		}, nil
	}
	stats := bnGeometry(x, engine.Identity, nil)
	stats.eps, stats.momentum = float64(op.Eps), float64(op.Momentum)
	ws := 8 * 2 * int(stats.tasks*stats.c)
	part := 4 * roundUp(ws/4)
	return part + applyScratch, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		s := stats
		s.x, s.mu, s.r, s.runMean, s.runVar, s.part = at(in[0]), at(out[1]), at(out[2]), at(in[3]), at(in[4]), ws
		push(q, kBNStats.of(in[0].DType), int(s.tasks), s)
		push(q, kBNFinish, 1, s)
		a := apply
		a.scratch = unsafe.Add(ws, part)
		a.x, a.gamma, a.beta, a.mu, a.r, a.y = s.x, at(in[1]), at(in[2]), s.mu, s.r, at(out[0])
		push(q, a.kernelOf(kBNApply, kBNApplyAct).of(in[0].DType), int(a.tasks), a)
	}, nil
}

// The input orders of the BatchNorm gradients: where γ, β, μ and r stand.
var (
	bnPlain = [4]int{2, 2, 3, 4} // x, dy, γ, μ, r; β does not matter without an activation
	bnFused = [4]int{2, 3, 4, 5}
)

// bnGradWorkspace returns the bytes of partial sums and of the coefficients.
func bnGradWorkspace(a bnArgs) (part, total int) {
	part = 8 * 2 * int(a.tasks*a.c)
	return part, part + 4*3*int(a.c)
}

// pushGrad enqueues the three launches of a BatchNorm gradient.
func pushGrad(q *queue, a bnArgs, stored engine.DType) {
	push(q, a.kernelOf(kBNGrad, kBNGradAct).of(stored), int(a.tasks), a)
	push(q, kBNGradFinish, 1, a)
	push(q, a.kernelOf(kBNGradApply, kBNGradApplyAct).of(stored), int(a.tasks), a)
}

func lowerBatchNormBackward(x engine.Spec, act engine.Act, w *engine.Window, order [4]int) (int, lowering, error) {
	if !fusesPool(act, w) {
		return 0, nil, errPool(w)
	}
	base := bnGeometry(x, act, w)
	part, total := bnGradWorkspace(base)
	scratch := 4 * roundUp(total/4)
	return scratch + base.blockScratch(), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.part, a.coef, a.scratch = at(in[0]), at(in[1]), ws, unsafe.Add(ws, part), unsafe.Add(ws, scratch)
		a.gamma, a.beta, a.mu, a.r = at(in[order[0]]), at(in[order[1]]), at(in[order[2]]), at(in[order[3]])
		a.y, a.dgamma, a.dbeta = at(out[0]), at(out[1]), at(out[2])
		pushGrad(q, a, in[0].DType)
	}, nil
}

func lowerBatchNormEvalBackward(op engine.BatchNormEvalBackward, x engine.Spec) (int, lowering, error) {
	base := bnGeometry(x, engine.Identity, nil)
	base.eval, base.eps = 1, float64(op.Eps)
	part, total := bnGradWorkspace(base)
	return total, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.part, a.coef = at(in[0]), at(in[1]), ws, unsafe.Add(ws, part)
		a.gamma, a.beta, a.mean, a.variance = at(in[2]), at(in[2]), at(in[3]), at(in[4])
		a.y, a.dgamma, a.dbeta = at(out[0]), at(out[1]), at(out[2])
		pushGrad(q, a, in[0].DType)
	}, nil
}

func lowerFoldBatchNorm(op engine.FoldBatchNorm, w engine.Spec) lowering {
	o := w.Shape[3]
	base := foldArgs{k: int64(w.Len() / o), o: int64(o), eps: float64(op.Eps)}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.w, a.wout, a.bout = at(in[0]), at(out[0]), at(out[1])
		rest := in[1:]
		if op.Bias {
			a.bias, rest = at(rest[0]), rest[1:]
		}
		a.gamma, a.beta, a.mean, a.variance = at(rest[0]), at(rest[1]), at(rest[2]), at(rest[3])
		push(q, kBNFold, ceilDiv(int(a.k), foldRows), a)
	}
}
