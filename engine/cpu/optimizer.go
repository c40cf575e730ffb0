package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.Adam, _, _ []engine.Spec) lowering {
		a := optimArgs{beta1: float64(op.Beta1), beta2: float64(op.Beta2), eps: float64(op.Eps)}
		if op.Decoupled {
			a.decoupled = 1
		}
		return lowerOptimizer(kAdam, op.K, a)
	})
	lowersAlone(func(op engine.SGD, _, _ []engine.Spec) lowering {
		a := optimArgs{beta1: float64(op.Momentum)}
		if op.Nesterov {
			a.decoupled = 1
		}
		return lowerOptimizer(kSGD, op.K, a)
	})
	lowersAlone(func(op engine.Accumulate, _, _ []engine.Spec) lowering {
		return mix(op.K, mixArgs{weight: float64(op.Weight)})
	})
	lowersAlone(func(op engine.EMA, _, _ []engine.Spec) lowering { return mix(op.K, mixArgs{ema: 1}) })
	lowers(lowerClipScale)
}

// lowerOptimizer lowers an optimizer of k parameters, whose inputs are hyper,
// scale, the parameters, their gradients and its slots, one behind the other.
func lowerOptimizer(id kernelID, k int, base optimArgs) lowering {
	var s []span // made once: to enqueue a kernel allocates nothing
	return func(q *queue, in, _ []engine.Tensor, _ unsafe.Pointer) {
		a := base
		var lists [4][]engine.Tensor // as far as there are
		for i := range lists {
			if from := 2 + i*k; from < len(in) {
				lists[i] = in[from : from+k]
			}
		}
		s = spans(s[:0], lists[0], lists[1], lists[2], lists[3])
		a.spans, a.hyper, a.scale = keep(&q.memory, s), at(in[0]), at(in[1])
		push(q, id, len(s), a)
	}
}

// lowerClipScale lowers the scale that bounds the norm of all inputs together.
func lowerClipScale(op engine.ClipScale, in, _ []engine.Spec) (int, lowering, error) {
	n := 0
	for _, s := range in {
		_, tasks := cut(s)
		n += tasks
	}
	var s []span
	return 8 * n, func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		s = spans(s[:0], nil, in, nil, nil)
		a := clipArgs{spans: keep(&q.memory, s), part: ws, norm: at(out[0]), scale: at(out[1]), tasks: int64(len(s)), maxNorm: float64(op.MaxNorm)}
		push(q, kSumSq, len(s), a)
		push(q, kClip, 1, a)
	}, nil
}

func mix(k int, a mixArgs) lowering {
	var s []span
	return func(q *queue, in, _ []engine.Tensor, _ unsafe.Pointer) {
		a := a
		s = spans(s[:0], in[1+k:], in[1:1+k], nil, nil)
		a.spans, a.s = keep(&q.memory, s), at(in[0])
		push(q, kMix, len(s), a)
	}
}

// spans cuts tensors, given as parallel lists of which all but g may be
// missing, into spans, which it appends to out.
func spans(out []span, p, g, m, v []engine.Tensor) []span {
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
