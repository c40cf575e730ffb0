package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.ScaleShift, in, _ []engine.Spec) lowering {
		base, tasks := channelwiseOver(in[0], 1)
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.y = at(in[0]), at(out[0])
			if op.Scale {
				a.w = at(in[1])
			}
			if op.Shift {
				a.b = at(in[len(in)-1])
			}
			push(q, kChannelwise, tasks, a)
		}
	})
	lowers(func(op engine.ScaleShiftBackward, in, _ []engine.Spec) (int, lowering, error) {
		base, tasks := channelwiseOver(in[0], 1)
		return 8 * 2 * tasks * int(base.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := base
			a.x, a.dy, a.part = at(in[0]), at(in[1]), ws
			if op.Scale {
				a.dw = at(out[0])
			}
			if op.Shift {
				a.db = at(out[len(out)-1])
			}
			push(q, kChannelwiseBackward, tasks, a)
			push(q, kChannelwiseTotal, 1, a)
		}, nil
	})
}
