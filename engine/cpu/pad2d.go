package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.Pad2D, in, out []engine.Spec) lowering { return lowerPad2D(kPad2D, op, in[0], out[0]) })
	lowersCompiled(func(op engine.Pad2DBackward, in, out []engine.Spec) (int, lowering, error) {
		return sumsBytes(out[0]), lowerPad2D(kPad2DBackward, op.Pad2D, out[0], in[0]), nil
	})
}

func wide(list []int) []int64 {
	out := make([]int64, len(list))
	for i, v := range list {
		out[i] = int64(v)
	}
	return out
}

// lowerPad2D lowers one of the kernels with small side x and large side y.
func lowerPad2D(k kernelID, op engine.Pad2D, x, y engine.Spec) lowering {
	n, h, w, c, _ := x.NHWC()
	base := pad2dArgs{n: int64(n), h: int64(h), w: int64(w), c: int64(c), oh: int64(y.Shape[1]), ow: int64(y.Shape[2]), value: float64(op.Value)}
	rows, cols := wide(op.Sources(0, h)), wide(op.Sources(1, w))
	tasks := base.n
	if k == kPad2D {
		base.rows, tasks = taskRows(n*y.Shape[1], y.Shape[2]*c)
	}
	return func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.scratch = ws
		a.rowFrom, a.colFrom = keep(&q.memory, rows), keep(&q.memory, cols)
		a.x, a.y = at(in[0]), at(out[0])
		push(q, k.of(in[0].DType), int(tasks), a)
	}
}
