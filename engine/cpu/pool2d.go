package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.MaxPool2D, in, out []engine.Spec) lowering {
		return maxPooling(op.Window, in[0]).lower(kMaxPool, in[0], out[0])
	})
	lowersAlone(func(op engine.MaxPool2DBackward, in, _ []engine.Spec) lowering {
		return maxPooling(op.Window, in[0]).lower(kMaxPoolBackward, in[0], in[1])
	})
	lowersAlone(func(op engine.AvgPool2D, in, out []engine.Spec) lowering {
		return avgPooling(op, in[0]).lower(kAvgPool, in[0], out[0])
	})
	lowersAlone(func(op engine.AvgPool2DBackward, in, _ []engine.Spec) lowering {
		return avgPooling(op.AvgPool2D, op.X).lower(kAvgPoolBackward, op.X, in[0])
	})
	lowersAlone(func(_ engine.GlobalAvgPool, in, _ []engine.Spec) lowering {
		return pooling{}.lower(kGlobalPool, in[0], in[0])
	})
	lowersAlone(func(op engine.GlobalAvgPoolBackward, _, _ []engine.Spec) lowering {
		return pooling{}.lower(kGlobalPoolBackward, op.X, op.X)
	})
}

// globalPoolChannels are the channels of one task of globalpool.
const globalPoolChannels = 256

// A pooling says what the windows of a pool cover along each axis: for each
// window first, end and divisor.
type pooling struct {
	rows, cols []int64
	dil        engine.Pair
}

// flatSpans flattens those of one axis.
func flatSpans(list []engine.Span) (flat []int64) {
	for _, s := range list {
		flat = append(flat, int64(s.First), int64(s.End), int64(s.Extent))
	}
	return flat
}

func maxPooling(w engine.Window, x engine.Spec) pooling {
	return pooling{flatSpans(w.Spans(0, x.Shape[1])), flatSpans(w.Spans(1, x.Shape[2])), w.Complete().Dilation}
}

func avgPooling(op engine.AvgPool2D, x engine.Spec) pooling {
	p := maxPooling(op.Window, x)
	for axis, flat := range [][]int64{p.rows, p.cols} {
		for i, d := range op.Divisors(axis, x.Shape[1+axis]) {
			flat[3*i+2] = int64(d)
		}
	}
	return p
}

func adaptivePooling(a engine.Adaptive, x engine.Spec) pooling {
	return pooling{flatSpans(a.Spans(0, x.Shape[1])), flatSpans(a.Spans(1, x.Shape[2])), engine.Both(1)}
}

// lower lowers one pooling kernel with large side x and small side y.
func (p pooling) lower(k kernelID, x, y engine.Spec) lowering {
	a := poolArgs{n: int64(x.Shape[0]), h: int64(x.Shape[1]), w: int64(x.Shape[2]), c: int64(x.Shape[3]),
		oh: int64(y.Shape[1]), ow: int64(y.Shape[2]), dilh: int64(p.dil[0]), dilw: int64(p.dil[1])}
	tasks := a.n
	switch k {
	case kMaxPool, kAvgPool:
		reach := ceilDiv(int(p.rows[1]-p.rows[0]), p.dil[0]) // rows of x for a row of y
		a.rows, tasks = spreadRows(int(a.n*a.oh), max(reach, 1)*x.Shape[2]*x.Shape[3])
	case kGlobalPool:
		a.rows = globalPoolChannels
		tasks *= int64(ceilDiv(int(a.c), globalPoolChannels))
	}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.rowSpans, a.colSpans = keep(&q.memory, p.rows), keep(&q.memory, p.cols)
		a.x, a.dy, a.y = at(in[0]), at(in[len(in)-1]), at(out[0])
		push(q, k, int(tasks), a)
	}
}
