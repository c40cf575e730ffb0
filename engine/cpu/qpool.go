package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.QMaxPool2D, in, out []engine.Spec) lowering {
		return maxPooling(op.Window, in[0]).lowerCodes(kQMaxPool, qpoolArgs{}, in[0])
	})
	lowersAlone(func(op engine.QAvgPool2D, in, _ []engine.Spec) lowering {
		return avgPooling(op.Pool, in[0]).lowerCodes(kQAvgPool, meanArgs(op.X, op.Y), in[0])
	})
	lowersAlone(func(op engine.QGlobalAvgPool, in, _ []engine.Spec) lowering {
		_, h, w, _, _ := in[0].NHWC()
		p := pooling{rows: []int64{0, int64(h), int64(h)}, cols: []int64{0, int64(w), int64(w)}, dil: engine.Both(1)}
		return p.lowerCodes(kQAvgPool, meanArgs(op.X, op.Y), in[0])
	})
}

func meanArgs(x, y engine.Codes) qpoolArgs {
	return qpoolArgs{xzero: int64(x.Zero), yzero: int64(y.Zero), lo: int64(y.Lo), hi: int64(y.Hi), m: float64(x.Scale / y.Scale)}
}

// lowerCodes lowers a pool of codes. A task is a row of windows.
func (p pooling) lowerCodes(k kernelID, a qpoolArgs, x engine.Spec) lowering {
	n, h, w, c, _ := x.NHWC()
	a.h, a.w, a.c = int64(h), int64(w), int64(c)
	a.oh, a.ow, a.dilh, a.dilw = int64(len(p.rows)/3), int64(len(p.cols)/3), int64(p.dil[0]), int64(p.dil[1])
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.rowSpans, a.colSpans = keep(&q.memory, p.rows), keep(&q.memory, p.cols)
		a.x, a.y = at(in[0]), at(out[0])
		push(q, k, n*int(a.oh), a)
	}
}
