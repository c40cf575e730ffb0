package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(_ engine.MSE, in, _ []engine.Spec) (int, lowering, error) {
		base, tasks := newMSE(in[0])
		return 8 * tasks, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := base
			a.x, a.t, a.y, a.part = at(in[0]), at(in[1]), at(out[0]), ws
			push(q, kMSE, tasks, a)
			push(q, kMSETotal, 1, a)
		}, nil
	})
	lowersAlone(func(_ engine.MSEBackward, in, _ []engine.Spec) lowering {
		base, tasks := newMSE(in[0])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.t, a.dloss, a.y = at(in[0]), at(in[1]), at(in[2]), at(out[0])
			push(q, kMSEBackward, tasks, a)
		}
	})
}

// newMSE fills in the sizes, and how the elements are cut into tasks.
func newMSE(x engine.Spec) (mseArgs, int) {
	rows, tasks := taskRows(x.Len(), 1)
	return mseArgs{n: int64(x.Len()), each: rows, parts: tasks}, int(tasks)
}
