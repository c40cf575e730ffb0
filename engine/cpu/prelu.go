package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(_ engine.PReLU, in, _ []engine.Spec) lowering {
		base, tasks := preluOver(in[0], in[1])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
			push(q, kChannelwise, tasks, a)
		}
	})
	lowers(func(_ engine.PReLUBackward, in, _ []engine.Spec) (int, lowering, error) {
		base, tasks := preluOver(in[0], in[1])
		return 8 * 2 * tasks * int(base.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			a := base
			a.x, a.w, a.dy, a.y, a.dw, a.part = at(in[0]), at(in[1]), at(in[2]), at(out[0]), at(out[1]), ws
			push(q, kChannelwiseBackward, tasks, a)
			push(q, kChannelwiseTotal, 1, a)
		}, nil
	})
}

func preluOver(x, w engine.Spec) (a channelArgs, tasks int) {
	a, tasks = channelwiseOver(x, 1)
	a.prelu = 1
	if w.Shape[0] == 1 {
		a.one = 1
	}
	return a, tasks
}
