package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.Quantize, in, _ []engine.Spec) lowering {
		return lowerCodes(kQuantize, in[0], codesArgs{m: float64(op.Y.Scale)}.to(op.Y))
	})
	lowersAlone(func(op engine.Dequantize, in, _ []engine.Spec) lowering {
		return lowerCodes(kDequantize, in[0], codesArgs{m: float64(op.X.Scale), xzero: int64(op.X.Zero)})
	})
	lowersAlone(func(_ engine.Lookup, in, _ []engine.Spec) lowering { return lowerCodes(kLookup, in[0], codesArgs{}) })
}

// to returns the arguments with the codes of the output.
func (a codesArgs) to(y engine.Codes) codesArgs {
	a.yzero, a.lo, a.hi = int64(y.Zero), int64(y.Lo), int64(y.Hi)
	return a
}

// lowerCodes lowers a kernel over the elements of x and, where it reads a second
// tensor, of that.
func lowerCodes(k kernelID, x engine.Spec, a codesArgs) lowering {
	a.n, a.each = int64(x.Len()), spanFloats
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.x, a.y = at(in[0]), at(out[0])
		if len(in) > 1 {
			a.b = at(in[1])
		}
		push(q, k, ceilDiv(int(a.n), spanFloats), a)
	}
}
