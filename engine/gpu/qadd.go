package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerQAdd, engine.QAdd{})
	lowers((*Backend).lowerQMul, engine.QMul{})
}

// The arguments of qadd.cu, field for field.
type (
	qaddArgs struct {
		a, b, y      cuda.Ptr
		n            int64
		azero, bzero int32
		ma, mb       float32
		c            codes
	}
	qmulArgs struct {
		a, b, y           cuda.Ptr
		n, each, channels int64
		azero, bzero      int32
		m                 float32
		c                 codes
	}
)

func (b *Backend) lowerQAdd(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op := o.(engine.QAdd)
	a := &qaddArgs{n: int64(in[0].Len()), azero: op.A.Zero, bzero: op.B.Zero, ma: op.A.Scale / op.Y.Scale, mb: op.B.Scale / op.Y.Scale, c: codesOf(op.Y)}
	return over(b, "qadd", "qadd", in[0].Len(), a, func(in, out []cuda.Ptr) { a.a, a.b, a.y = in[0], in[1], out[0] })
}

func (b *Backend) lowerQMul(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op, x := o.(engine.QMul), in[0]
	a := &qmulArgs{n: int64(x.Len()), each: int64(op.Each(x, in[1])), channels: int64(x.Shape[len(x.Shape)-1]),
		azero: op.A.Zero, bzero: op.B.Zero, m: op.Multiplier(), c: codesOf(op.Y)}
	return over(b, "qadd", "qmul", x.Len(), a, func(in, out []cuda.Ptr) { a.a, a.b, a.y = in[0], in[1], out[0] })
}
