package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.Mul, in, _ []engine.Spec) lowering { return lowerMul(op, in) })
	lowersBFloat16(func(op engine.Mul, in, _ []engine.Spec) (int, lowering, error) {
		if !compiled || op.Broadcast(in[0], in[1]) != engine.Elementwise {
			return 0, nil, errWidened
		}
		return 0, lowerMul(op, in), nil
	})
	lowers(func(_ engine.MulBackward, in, _ []engine.Spec) (int, lowering, error) {
		ws, low := lowerMulBackward(in)
		return ws, low, nil
	})
}

// channelwiseOver cuts x, of so many images with a vector each, into tasks.
func channelwiseOver(x engine.Spec, images int) (a channelArgs, tasks int) {
	c := x.Shape[len(x.Shape)-1]
	a = channelArgs{m: int64(x.Len() / c / images), c: int64(c)}
	if images > 1 {
		a.stride = a.c
	}
	a.rows, a.chunks = taskRows(int(a.m), c)
	return a, images * int(a.chunks)
}

// rowwiseOver cuts x, with a factor for each row, into tasks.
func rowwiseOver(x engine.Spec) (a channelArgs, tasks int) {
	c := x.Shape[len(x.Shape)-1]
	a = channelArgs{m: int64(x.Len() / c), c: int64(c)}
	rows, n := taskRows(int(a.m), c)
	a.rows = rows
	return a, int(n)
}

func lowerMul(op engine.Mul, in []engine.Spec) lowering {
	base, tasks, kernel := channelArgs{}, 0, kChannelwise
	switch op.Broadcast(in[0], in[1]) {
	case engine.Elementwise:
		return lowerPointwise(opProduct, in[0])
	case engine.OverPixels:
		base, tasks = channelwiseOver(in[0], in[0].Shape[0])
	default:
		base, tasks = rowwiseOver(in[0])
		kernel = kRowwise
	}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.x, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
		push(q, kernel, tasks, a)
	}
}

func lowerMulBackward(in []engine.Spec) (int, lowering) {
	if (engine.Mul{}).Broadcast(in[0], in[1]) == engine.OverChannels {
		base, tasks := rowwiseOver(in[0])
		return 0, func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.w, a.dy, a.y, a.dw = at(in[0]), at(in[1]), at(in[2]), at(out[0]), at(out[1])
			push(q, kRowwise, tasks, a)
		}
	}
	images := in[0].Shape[0]
	base, tasks := channelwiseOver(in[0], images)
	return 8 * 2 * tasks * int(base.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.w, a.dy, a.y, a.dw, a.part = at(in[0]), at(in[1]), at(in[2]), at(out[0]), at(out[1]), ws
		push(q, kChannelwiseBackward, tasks, a)
		push(q, kChannelwiseTotal, images, a)
	}
}
