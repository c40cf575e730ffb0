package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(_ engine.Concat, _, _ []engine.Spec) lowering { return lowerConcat })
	lowersCompiledAlone(func(op engine.Slice, in, out []engine.Spec) lowering {
		return lowerStrip(newStrip(in[0], out[0], op.Start, 0))
	})
	lowersCompiledAlone(func(op engine.SliceBackward, in, out []engine.Spec) lowering {
		a := newStrip(in[0], out[0], 0, op.Start)
		a.fill = 1
		return lowerStrip(a)
	})
}

// lowerConcat copies each input to its channels.
func lowerConcat(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
	first := 0
	for _, x := range in {
		a := newStrip(x.Spec, out[0].Spec, 0, first)
		first += int(a.n)
		a.push(q, x, out[0])
	}
}

// newStrip moves as many channels as x and y both have behind the given ones.
func newStrip(x, y engine.Spec, xFirst, yFirst int) stripArgs {
	xc, yc := x.Shape[len(x.Shape)-1], y.Shape[len(y.Shape)-1]
	a := stripArgs{m: int64(x.Len() / xc), xc: int64(xc), x0: int64(xFirst), yc: int64(yc), y0: int64(yFirst), n: int64(min(xc-xFirst, yc-yFirst))}
	a.rows, a.tasks = taskRows(int(a.m), int(a.n))
	return a
}

// push enqueues the launch.
func (a stripArgs) push(q *queue, x, y engine.Tensor) {
	a.x, a.y = at(x), at(y)
	push(q, kStrip.of(x.DType), int(a.tasks), a)
}

func lowerStrip(a stripArgs) lowering {
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) { a.push(q, in[0], out[0]) }
}
