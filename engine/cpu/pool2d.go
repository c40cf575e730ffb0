package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.MaxPool2D, in, out []engine.Spec) lowering {
		return pool(kMaxPool, op.Window, in[0], out[0])
	})
	lowersAlone(func(op engine.MaxPool2DBackward, in, _ []engine.Spec) lowering {
		return pool(kMaxPoolBackward, op.Window, in[0], in[1])
	})
	lowersAlone(func(op engine.AvgPool2D, in, out []engine.Spec) lowering {
		return pool(kAvgPool, op.Window, in[0], out[0])
	})
	lowersAlone(func(op engine.AvgPool2DBackward, in, _ []engine.Spec) lowering {
		return pool(kAvgPoolBackward, op.Window, op.X, in[0])
	})
	lowersAlone(func(_ engine.GlobalAvgPool, in, _ []engine.Spec) lowering {
		return pool(kGlobalPool, engine.Window{}, in[0], in[0])
	})
	lowersAlone(func(op engine.GlobalAvgPoolBackward, _, _ []engine.Spec) lowering {
		return pool(kGlobalPoolBackward, engine.Window{}, op.X, op.X)
	})
}

// pool lowers one pooling kernel with large side x and small side y.
func pool(k kernelID, w engine.Window, x, y engine.Spec) lowering {
	if w.Stride == 0 {
		w.Stride = w.Kernel
	}
	a := poolArgs{n: int64(x.Shape[0]), h: int64(x.Shape[1]), w: int64(x.Shape[2]), c: int64(x.Shape[3]),
		oh: int64(y.Shape[1]), ow: int64(y.Shape[2]), kernel: int64(w.Kernel), stride: int64(w.Stride), pad: int64(w.Pad)}
	tasks := a.n
	if k == kMaxPool || k == kAvgPool {
		a.rows, tasks = taskRows(int(a.n*a.oh), w.Kernel*x.Shape[2]*x.Shape[3])
	}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.x, a.dy, a.y = at(in[0]), at(in[len(in)-1]), at(out[0])
		push(q, k, int(tasks), a)
	}
}
