package cpu

import (
	"os"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// Int8Env is the environment variable that, at "0", keeps the backend from
// computing in integers: quantised models then run on decoded weights.
const Int8Env = "POTSTILL_INT8"

// hasInt8 reports whether a variant of this build has the kernels of int8.h on
// this machine, and whether they are wanted.
func hasInt8(variant string) bool {
	return variant == "avx512" && machineHasInt8() && os.Getenv(Int8Env) != "0"
}

// The arguments of the kernels, as in int8.h.
type (
	quantizeArgs struct {
		w, codes         ptr
		scale, shift     ptr
		i, o, perChannel int64
	}
	pointwiseInt8Args struct {
		x, codes             ptr
		scale, shift, bias   ptr
		y                    ptr
		pixels, i, o, block  int64
		window, h, w, oh, ow int64
		max                  float64
	}
)

// int8Bytes is PS_INT8_BYTES, the room that a task has for its pixels' bytes.
const int8Bytes = 65536

func lowerQuantizeWeight(op engine.QuantizeWeight, w engine.Spec) lowering {
	a := quantizeArgs{i: int64(w.Shape[2]), o: int64(w.Shape[3])}
	if op.PerChannel {
		a.perChannel = 1
	}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.w, a.codes, a.scale, a.shift = at(in[0]), at(out[0]), at(out[1]), at(out[2])
		push(q, kQuantizeWeight, ceilDiv(int(a.o), 16), a)
	}
}

func lowerPointwiseInt8(op engine.PointwiseInt8, x, y engine.Spec) lowering {
	i, o := x.Shape[3], y.Shape[3]
	pixels, window := y.Len()/o, 1
	if op.Pool != nil {
		window = op.Pool.Kernel
	}
	block := int8Block(pixels*window*window, i) / (window * window)
	a := pointwiseInt8Args{pixels: int64(pixels), i: int64(i), o: int64(o), block: int64(block), max: float64(op.Max),
		window: int64(window), h: int64(x.Shape[1]), w: int64(x.Shape[2]), oh: int64(y.Shape[1]), ow: int64(y.Shape[2])}
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := a
		a.x, a.codes, a.scale, a.shift, a.y = at(in[0]), at(in[1]), at(in[2]), at(in[3]), at(out[0])
		if len(in) == 5 {
			a.bias = at(in[4])
		}
		push(q, kPointwiseInt8, ceilDiv(pixels, block), a)
	}
}

// int8Block returns the pixels of x that a task reads: enough tasks for a few
// cores, whole tiles of 24 pixels (four, six or eight make one), and bytes that
// the task has room for, which is eight pixels at least.
func int8Block(pixels, channels int) int {
	block := min(ceilDiv(ceilDiv(pixels, 8), 24)*24, 96)
	return min(block, int8Bytes/roundUp(channels))
}
