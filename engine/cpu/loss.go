package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// lowerLoss lowers a loss to one task, its gradient to a task a row.
func lowerLoss(op engine.Op, x engine.Spec) lowering {
	a := lossArgs{n: int64(x.Shape[0]), k: int64(x.Shape[1])}
	var id kernelID
	tasks := 1
	switch op := op.(type) {
	case engine.CrossEntropy:
		id, a.param = kCrossEntropy, float64(op.LabelSmoothing)
	case engine.CrossEntropyBackward:
		id, a.param, tasks = kCrossEntropyBackward, float64(op.LabelSmoothing), x.Shape[0]
	case engine.KLDiv:
		id, a.param = kKLDiv, float64(op.T)
	case engine.KLDivBackward:
		id, a.param, tasks = kKLDivBackward, float64(op.T), x.Shape[0]
	}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.x, a.t, a.y = at(in[0]), at(in[1]), at(out[0])
		if len(in) == 3 {
			a.dloss = at(in[2])
		}
		push(q, id, tasks, a)
	}
}
