package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(_ engine.QConcat, _, _ []engine.Spec) lowering {
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			y := out[0]
			first := int64(0)
			for _, x := range in {
				a, tasks := codesArgs{yc: int64(y.Shape[len(y.Shape)-1]), y0: first}.rows(x.Spec)
				first += a.c
				a.x, a.y = at(x), at(y)
				push(q, kQConcat, tasks, a)
			}
		}
	})
	lowersAlone(func(_ engine.QFlatten, in, _ []engine.Spec) lowering {
		n, h, w, c, _ := in[0].NHWC()
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kQFlatten, n, codesArgs{x: at(in[0]), y: at(out[0]), n: int64(n), c: int64(c), pixels: int64(h * w)})
		}
	})
}
