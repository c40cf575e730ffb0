package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// lowerOptimizer lowers the ops over all parameters at once, a task a span.
func lowerOptimizer(op engine.Op, in []engine.Spec) (ws int, low lowering) {
	switch op := op.(type) {
	case engine.Adam:
		k := op.K
		a := optimArgs{beta1: float64(op.Beta1), beta2: float64(op.Beta2), eps: float64(op.Eps)}
		if op.Decoupled {
			a.decoupled = 1
		}
		return 0, func(q *queue, in, _ []engine.Tensor, _ unsafe.Pointer) {
			a := a
			s := spans(in[2:2+k], in[2+k:2+2*k], in[2+2*k:2+3*k], in[2+3*k:])
			a.spans, a.hyper, a.scale = keep(&q.memory, s), at(in[0]), at(in[1])
			push(q, kAdam, len(s), a)
		}
	case engine.SGD:
		k := op.K
		a := optimArgs{beta1: float64(op.Momentum)}
		if op.Nesterov {
			a.decoupled = 1
		}
		return 0, func(q *queue, in, _ []engine.Tensor, _ unsafe.Pointer) {
			a := a
			s := spans(in[2:2+k], in[2+k:2+2*k], in[2+2*k:], nil)
			a.spans, a.hyper, a.scale = keep(&q.memory, s), at(in[0]), at(in[1])
			push(q, kSGD, len(s), a)
		}
	case engine.Accumulate:
		return 0, mix(op.K, mixArgs{weight: float64(op.Weight)})
	case engine.EMA:
		return 0, mix(op.K, mixArgs{ema: 1})
	case engine.ClipScale:
		n := 0
		for _, s := range in {
			n += ceilDiv(s.Len(), spanFloats)
		}
		return 8 * n, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			s := spans(nil, in, nil, nil)
			a := clipArgs{spans: keep(&q.memory, s), part: ws, norm: at(out[0]), scale: at(out[1]), tasks: int64(len(s)), maxNorm: float64(op.MaxNorm)}
			push(q, kSumSq, len(s), a)
			push(q, kClip, 1, a)
		}
	}
	return 0, nil
}

func mix(k int, a mixArgs) lowering {
	return func(q *queue, in, _ []engine.Tensor, _ unsafe.Pointer) {
		a := a
		s := spans(in[1+k:], in[1:1+k], nil, nil)
		a.spans, a.s = keep(&q.memory, s), at(in[0])
		push(q, kMix, len(s), a)
	}
}

// spans cuts tensors, given as parallel lists of which all but g may be
// missing, into spans.
func spans(p, g, m, v []engine.Tensor) []span {
	var out []span
	part := func(ts []engine.Tensor, i, off int) ptr {
		if i >= len(ts) {
			return nil
		}
		return floats(at(ts[i]), off)
	}
	for i := range g {
		n := g[i].Len()
		for off := 0; off < n; off += spanFloats {
			out = append(out, span{part(p, i, off), part(g, i, off), part(m, i, off), part(v, i, off), int64(min(spanFloats, n-off))})
		}
	}
	return out
}
