package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(qadd)
	define(qmul)
}

func qadd(op engine.QAdd, in, out []Array) {
	ma, mb := op.A.Scale/op.Y.Scale, op.B.Scale/op.Y.Scale
	for i := range out[0].V {
		a := float32((float32(in[0].V[i]) - float32(op.A.Zero)) * ma)
		b := float32((float32(in[1].V[i]) - float32(op.B.Zero)) * mb)
		out[0].V[i] = code(op.Y, a+b)
	}
}

func qmul(op engine.QMul, in, out []Array) {
	m, each := op.Multiplier(), op.Each(in[0].Spec, in[1].Spec)
	c := in[0].Shape[len(in[0].Shape)-1]
	for i, a := range in[0].V {
		b := in[1].V[i/(each*c)*c+i%c]
		out[0].V[i] = code(op.Y, float32((int32(a)-op.A.Zero)*(int32(b)-op.B.Zero))*m)
	}
}
