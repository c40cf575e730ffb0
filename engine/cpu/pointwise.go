package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// What pointwise computes, as in args.h.
const (
	opProduct = iota
	opQuotient
	opLarger
	opSmaller
	opLargerBackward
	opSmallerBackward
)

func init() {
	lowersCompiledAlone(func(_ engine.Div, in, _ []engine.Spec) lowering { return lowerPointwise(opQuotient, in[0]) })
	lowersCompiledAlone(func(_ engine.Maximum, in, _ []engine.Spec) lowering { return lowerPointwise(opLarger, in[0]) })
	lowersCompiledAlone(func(_ engine.Minimum, in, _ []engine.Spec) lowering { return lowerPointwise(opSmaller, in[0]) })
	lowersCompiledAlone(func(op engine.ChosenBackward, in, _ []engine.Spec) lowering {
		if op.Least {
			return lowerPointwise(opSmallerBackward, in[0])
		}
		return lowerPointwise(opLargerBackward, in[0])
	})
}

func lowerPointwise(what int64, x engine.Spec) lowering {
	n, tasks := cut(x)
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := pointwiseArgs{a: at(in[0]), b: at(in[1]), y: at(out[0]), n: n, op: what}
		if len(in) > 2 {
			a.dy = at(in[2])
		}
		push(q, kPointwise.of(out[0].DType), tasks, a)
	}
}
