package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.ChannelShuffle, in, _ []engine.Spec) lowering { return lowerChannelShuffle(op, in[0]) })
}

func lowerChannelShuffle(op engine.ChannelShuffle, x engine.Spec) lowering {
	c := x.Shape[len(x.Shape)-1]
	a := shuffleArgs{m: int64(x.Len() / c), groups: int64(op.Groups), each: int64(c / op.Groups)}
	rows, tasks := taskRows(int(a.m), c)
	a.rows = rows
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.x, a.y = at(in[0]), at(out[0])
		push(q, kChannelShuffle.of(in[0].DType), int(tasks), a)
	}
}
