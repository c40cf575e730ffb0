package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerQuantize, engine.Quantize{})
	lowers((*Backend).lowerDequantize, engine.Dequantize{})
	lowers((*Backend).lowerLookup, engine.Lookup{})
}

// codes are those of an output, as in codes.cuh.
type codes struct {
	zero        int32
	least, most float32
}

func codesOf(c engine.Codes) codes {
	return codes{c.Zero, float32(c.Lo - c.Zero), float32(c.Hi - c.Zero)}
}

// The arguments of quantize.cu, field for field.
type (
	quantizeArgs struct {
		x, y  cuda.Ptr
		n     int64
		scale float32
		c     codes
	}
	dequantizeArgs struct {
		x, y  cuda.Ptr
		n     int64
		scale float32
		zero  int32
	}
	lookupArgs struct {
		x, table, y cuda.Ptr
		n           int64
	}
)

// over makes the launch of a kernel that strides over n items, with arguments that
// set fills in from the tensors' addresses.
func over[A any](b *Backend, source, name string, n int, a *A, set func(in, out []cuda.Ptr)) (lowering, error) {
	f, err := b.function(source, name)
	grid := b.items(n)
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		set(in, out)
		return launch(b, f, grid, [3]int{elementThreads, 1, 1}, 0, a)
	}}, err
}

func (b *Backend) lowerQuantize(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	y := op.(engine.Quantize).Y
	a := &quantizeArgs{n: int64(in[0].Len()), scale: y.Scale, c: codesOf(y)}
	return over(b, "quantize", "quantize", in[0].Len(), a, func(in, out []cuda.Ptr) { a.x, a.y = in[0], out[0] })
}

func (b *Backend) lowerDequantize(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	x := op.(engine.Dequantize).X
	a := &dequantizeArgs{n: int64(in[0].Len()), scale: x.Scale, zero: x.Zero}
	return over(b, "quantize", "dequantize", in[0].Len(), a, func(in, out []cuda.Ptr) { a.x, a.y = in[0], out[0] })
}

func (b *Backend) lowerLookup(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	a := &lookupArgs{n: int64(in[0].Len())}
	return over(b, "quantize", "lookup", in[0].Len(), a, func(in, out []cuda.Ptr) { a.x, a.table, a.y = in[0], in[1], out[0] })
}
