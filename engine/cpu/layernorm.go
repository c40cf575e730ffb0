package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.LayerNorm, in, _ []engine.Spec) lowering { return lowerLayerNorm(op, in[0]) })
	lowersCompiled(func(op engine.LayerNormBackward, in, _ []engine.Spec) (int, lowering, error) {
		ws, low := lowerLayerNormBackward(op, in[0])
		return ws, low, nil
	})
}

// newLayerNorm fills in the sizes, and how rows of channels are cut into tasks.
func newLayerNorm(x engine.Spec, eps float32) (a layerNormArgs, tasks int) {
	c := x.Shape[len(x.Shape)-1]
	a = layerNormArgs{m: int64(x.Len() / c), c: int64(c), eps: float64(eps)}
	rows, n := taskRows(int(a.m), c)
	a.rows = rows
	return a, int(n)
}

func lowerLayerNorm(op engine.LayerNorm, x engine.Spec) lowering {
	base, tasks := newLayerNorm(x, op.Eps)
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.x, a.gamma, a.beta, a.y = at(in[0]), at(in[1]), at(in[2]), at(out[0])
		push(q, kLayerNorm.of(in[0].DType), tasks, a)
	}
}

func lowerLayerNormBackward(op engine.LayerNormBackward, x engine.Spec) (int, lowering) {
	base, tasks := newLayerNorm(x, op.Eps)
	ws := 8 * 2 * tasks * int(base.c)
	return ws, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.gamma, a.y, a.part = at(in[0]), at(in[1]), at(in[2]), at(out[0]), ws
		push(q, kLayerNormBackward.of(in[0].DType), tasks, a)
		pushNormTotal(q, ws, tasks, a.c, out)
	}
}

// pushNormTotal enqueues the sums over the tasks' parts of dγ and dβ, an op's
// second and third output.
func pushNormTotal(q *queue, part unsafe.Pointer, tasks int, c int64, out []engine.Tensor) {
	push(q, kNormTotal, 1, normTotalArgs{part: part, dgamma: at(out[1]), dbeta: at(out[2]), c: c, parts: int64(tasks)})
}
