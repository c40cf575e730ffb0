package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.FakeQuant, in, _ []engine.Spec) lowering {
		base, tasks := fakeQuantOver(op, in[0], in[1])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
			if op.Zero {
				a.b = at(in[2])
			}
			push(q, kFakeQuant, tasks, a)
		}
	})
	lowers(func(op engine.FakeQuantBackward, in, _ []engine.Spec) (int, lowering, error) {
		base, tasks := fakeQuantOver(engine.FakeQuant(op), in[1], in[2])
		return 8 * 2 * tasks * int(base.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := base
			a.dy, a.x, a.w, a.y, a.dw, a.part = at(in[0]), at(in[1]), at(in[2]), at(out[0]), at(out[1]), ws
			if op.Zero {
				a.b = at(in[3])
			}
			push(q, kFakeQuantBackward, tasks, a)
			push(q, kChannelwiseTotal, 1, a)
		}, nil
	})
}

func fakeQuantOver(op engine.FakeQuant, x, scale engine.Spec) (a channelArgs, tasks int) {
	a, tasks = channelwiseOver(x, 1)
	a.lo, a.hi, a.gain = float64(op.Lo), float64(op.Hi), float64(op.Gain)
	if scale.Shape[0] == 1 {
		a.one = 1
	}
	return a, tasks
}
