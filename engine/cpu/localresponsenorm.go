package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.LocalResponseNorm, in, _ []engine.Spec) lowering {
		a, tasks := newResponse(op, in[0])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := a
			a.x, a.y = at(in[0]), at(out[0])
			push(q, kLocalResponse, tasks, a)
		}
	})
	lowers(func(op engine.LocalResponseNormBackward, in, _ []engine.Spec) (int, lowering, error) {
		a, tasks := newResponse(op.LocalResponseNorm, in[0])
		return 4 * tasks * int(a.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := a
			a.x, a.dy, a.y, a.scratch = at(in[0]), at(in[1]), at(out[0]), ws
			push(q, kLocalResponseBackward, tasks, a)
		}, nil
	})
}

func newResponse(op engine.LocalResponseNorm, x engine.Spec) (a responseArgs, tasks int) {
	c := x.Shape[len(x.Shape)-1]
	before, behind := op.Reach()
	a = responseArgs{m: int64(x.Len() / c), c: int64(c), before: int64(min(before, c)), behind: int64(min(behind, c)),
		scale: float64(op.Alpha) / float64(op.Size), beta: float64(op.Beta), k: float64(op.K)}
	rows, n := taskRows(int(a.m), c)
	a.rows = rows
	return a, int(n)
}
