package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.CrossEntropy, in, _ []engine.Spec) lowering {
		return lowerLoss(kCrossEntropy, op.LabelSmoothing, in[0], 1)
	})
	lowersAlone(func(op engine.CrossEntropyBackward, in, _ []engine.Spec) lowering {
		return lowerLoss(kCrossEntropyBackward, op.LabelSmoothing, in[0], in[0].Shape[0])
	})
	lowersAlone(func(op engine.KLDiv, in, _ []engine.Spec) lowering { return lowerLoss(kKLDiv, op.T, in[0], 1) })
	lowersAlone(func(op engine.KLDivBackward, in, _ []engine.Spec) lowering {
		return lowerLoss(kKLDivBackward, op.T, in[0], in[0].Shape[0])
	})
}

// lowerLoss lowers a loss of logits x [N, K], or its gradient, to so many tasks.
func lowerLoss(id kernelID, param float32, x engine.Spec, tasks int) lowering {
	base := lossArgs{n: int64(x.Shape[0]), k: int64(x.Shape[1]), param: float64(param)}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.x, a.t, a.y = at(in[0]), at(in[1]), at(out[0])
		if len(in) == 3 {
			a.dloss = at(in[2])
		}
		push(q, id, tasks, a)
	}
}
