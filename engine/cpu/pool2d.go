package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.MaxPool2D, in, out []engine.Spec) lowering {
		return maxPooling(op.Window, in[0]).lower(kMaxPool, in[0], out[0])
	})
	lowersCompiled(func(op engine.MaxPool2DBackward, in, out []engine.Spec) (int, lowering, error) {
		p := maxPooling(op.Window, in[0])
		ws := sumsBytes(out[0])
		if p.apart() {
			ws = 0
		}
		return ws, p.lower(kMaxPoolBackward, in[0], in[1]), nil
	})
	lowersCompiledAlone(func(op engine.AvgPool2D, in, out []engine.Spec) lowering {
		return avgPooling(op, in[0]).lower(kAvgPool, in[0], out[0])
	})
	lowersCompiled(func(op engine.AvgPool2DBackward, in, out []engine.Spec) (int, lowering, error) {
		return sumsBytes(out[0]), avgPooling(op.AvgPool2D, op.X).lower(kAvgPoolBackward, op.X, in[0]), nil
	})
	lowersCompiledAlone(func(_ engine.GlobalAvgPool, in, _ []engine.Spec) lowering {
		return pooling{}.lower(kGlobalPool, in[0], in[0])
	})
	lowersCompiledAlone(func(op engine.GlobalAvgPoolBackward, _, _ []engine.Spec) lowering {
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

// halves reports whether the windows are 2x2, side by side, and all that there are of these in
// pictures of h×w pixels.
func (p pooling) halves(h, w int) bool {
	for _, axis := range []struct {
		spans  []int64
		extent int
	}{{p.rows, h}, {p.cols, w}} {
		n := len(axis.spans) / 3
		for i := range n {
			if axis.spans[3*i] != int64(2*i) || axis.spans[3*i+1] != int64(2*i+2) {
				return false
			}
		}
		if n != axis.extent/2 { // of a single window the spans do not show the stride
			return false
		}
	}
	return p.dil == engine.Both(1)
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

// apart reports whether no two windows have a pixel in common, and none is between
// theirs.
func (p pooling) apart() bool { return p.dil == engine.Both(1) && apart(p.rows) && apart(p.cols) }

// apart reports whether the windows along an axis stand one behind the other
// without anything between them.
func apart(spans []int64) bool {
	for i := 3; i < len(spans); i += 3 {
		if spans[i] != spans[i-2] {
			return false
		}
	}
	return true
}

// sumsBytes is the scratch memory in which a gradient that is not stored as
// float32 is added up.
func sumsBytes(dx engine.Spec) int {
	if dx.DType == engine.Float32 {
		return 0
	}
	return 4 * dx.Len()
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
	if p.apart() {
		a.apart = 1
	}
	return func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := a
		stored := in[0].DType
		switch {
		case k == kGlobalPool && out[0].DType == engine.Float32:
			a.wide = 1
		case k == kGlobalPoolBackward && stored == engine.Float32:
			a.wide, stored = 1, out[0].DType
		}
		a.scratch = ws
		a.rowSpans, a.colSpans = keep(&q.memory, p.rows), keep(&q.memory, p.cols)
		a.x, a.dy, a.y = at(in[0]), at(in[len(in)-1]), at(out[0])
		push(q, k.of(stored), int(tasks), a)
	}
}
