package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.Softmax, in, _ []engine.Spec) lowering { return lowerSoftmax(kSoftmax, op.Log, in[0]) })
	lowersAlone(func(op engine.SoftmaxBackward, in, _ []engine.Spec) lowering {
		return lowerSoftmax(kSoftmaxBackward, op.Log, in[0])
	})
}

func lowerSoftmax(k kernelID, log bool, x engine.Spec) lowering {
	c := x.Shape[len(x.Shape)-1]
	base := softmaxArgs{m: int64(x.Len() / c), c: int64(c)}
	if log {
		base.log = 1
	}
	rows, tasks := taskRows(int(base.m), c)
	base.rows = rows
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.x, a.y = at(in[0]), at(out[0])
		if len(in) > 1 {
			a.dy = at(in[1])
		}
		push(q, k, int(tasks), a)
	}
}
