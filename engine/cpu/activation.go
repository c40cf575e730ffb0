package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.Activation, _, out []engine.Spec) lowering { return lowerActivation(op.F, out[0]) })
	lowersCompiledAlone(func(op engine.ActivationBackward, _, out []engine.Spec) lowering {
		n, tasks := cut(out[0])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kActBackward.of(out[0].DType), tasks, actArgs{x: at(in[0]), dy: at(in[1]), y: at(out[0]), n: n, act: actOf(op.F)})
		}
	})
}

// actOf is an activation as the kernels take it.
func actOf(f engine.Act) actFunc {
	c := f.Constants()
	return actFunc{f: int64(f.Fn), a: float64(c[0]), b: float64(c[1]), c: float64(c[2])}
}

// splitAct parts an activation into one that kernels take on the way, by its number,
// and one that runs over their results; the other is Identity.
func splitAct(f engine.Act) (inline int64, more actFunc) {
	if f.Fn <= engine.FuncReLU6 {
		return int64(f.Fn), more
	}
	return int64(engine.FuncIdentity), actOf(f)
}

// lowerActivation lowers y = f(x).
func lowerActivation(f engine.Act, y engine.Spec) lowering {
	n, tasks := cut(y)
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		push(q, kAct.of(out[0].DType), tasks, actArgs{x: at(in[0]), y: at(out[0]), n: n, act: actOf(f)})
	}
}
