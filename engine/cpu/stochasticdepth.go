package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCompiledAlone(func(op engine.StochasticDepth, in, _ []engine.Spec) lowering {
		_, tasks := cut(in[0])
		images := in[0].Shape[0]
		base := depthArgs{n: int64(images), each: int64(in[0].Len() / images), stream: int64(op.Stream),
			threshold: int64(op.Threshold()), scale: 1 / (1 - float64(op.P))}
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.counter, a.y = at(in[0]), at(in[1]), at(out[0])
			push(q, kStochasticDepth.of(in[0].DType), tasks, a)
		}
	})
}
