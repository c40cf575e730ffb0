package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.QAdd, in, _ []engine.Spec) lowering {
		return lowerCodes(kQAdd, in[0], qaddArgs(op))
	})
	lowersAlone(func(op engine.QMul, in, _ []engine.Spec) lowering {
		a := codesArgs{xzero: int64(op.A.Zero), bzero: int64(op.B.Zero), m: float64(op.Multiplier()), pixels: int64(op.Each(in[0], in[1]))}.to(op.Y)
		a, tasks := a.rows(in[0])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := a
			a.x, a.b, a.y = at(in[0]), at(in[1]), at(out[0])
			push(q, kQMul, tasks, a)
		}
	})
}

// qaddArgs are those of a sum but for its tensors.
func qaddArgs(op engine.QAdd) codesArgs {
	return codesArgs{
		xzero: int64(op.A.Zero), bzero: int64(op.B.Zero), m: float64(op.A.Scale / op.Y.Scale), mb: float64(op.B.Scale / op.Y.Scale),
	}.to(op.Y)
}

// rows cuts x, rows of channels, into tasks.
func (a codesArgs) rows(x engine.Spec) (codesArgs, int) {
	c := x.Shape[len(x.Shape)-1]
	a.n, a.c = int64(x.Len()/c), int64(c)
	rows, tasks := taskRows(int(a.n), c)
	a.each = rows
	return a, int(tasks)
}
