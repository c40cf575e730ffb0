package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiled(func(op engine.GroupNorm, in, _ []engine.Spec) (int, lowering, error) {
		ws, low := lowerGroupNorm(op, in[0])
		return ws, low, nil
	})
	lowersCompiled(func(_ engine.GroupNormBackward, in, _ []engine.Spec) (int, lowering, error) {
		ws, low := lowerGroupNormBackward(in)
		return ws, low, nil
	})
}

// newGroupNorm fills in the sizes, and how the pixels of each image are cut into
// tasks.
func newGroupNorm(x engine.Spec, groups int, eps float32) (a groupNormArgs, images, tasks int) {
	n, h, w, c, _ := x.NHWC()
	a = groupNormArgs{m: int64(h * w), c: int64(c), groups: int64(groups), eps: float64(eps)}
	a.rows, a.chunks = taskRows(h*w, c)
	return a, n, n * int(a.chunks)
}

// groupPart returns the bytes of the tasks' partial results.
func (a *groupNormArgs) groupPart(tasks int) int { return 8 * 2 * tasks * int(a.c) }

func lowerGroupNorm(op engine.GroupNorm, x engine.Spec) (int, lowering) {
	base, images, tasks := newGroupNorm(x, op.Groups, op.Eps)
	return base.groupPart(tasks), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.gamma, a.beta, a.part = at(in[0]), at(in[1]), at(in[2]), ws
		a.y, a.mu, a.r = at(out[0]), at(out[1]), at(out[2])
		push(q, kGroupNormStats.of(in[0].DType), tasks, a)
		push(q, kGroupNormFinish, images, a)
		push(q, kGroupNorm.of(in[0].DType), tasks, a)
	}
}

func lowerGroupNormBackward(in []engine.Spec) (int, lowering) {
	base, images, tasks := newGroupNorm(in[0], in[3].Shape[1], 0)
	part := base.groupPart(tasks)
	return part + 4*2*in[3].Len(), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.gamma, a.mu, a.r = at(in[0]), at(in[1]), at(in[2]), at(in[3]), at(in[4])
		a.y, a.part, a.coef = at(out[0]), ws, unsafe.Add(ws, part)
		push(q, kGroupNormGrad.of(in[0].DType), tasks, a)
		push(q, kGroupNormCoef, images, a)
		push(q, kGroupNormBackward.of(in[0].DType), tasks, a)
		pushNormTotal(q, ws, tasks, a.c, out)
	}
}
