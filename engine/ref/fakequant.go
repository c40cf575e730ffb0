package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(fakeQuant)
	define(fakeQuantBackward)
}

// A quantizer is a scale and a zero point for each index of the last axis, or one
// for all.
type quantizer struct {
	s, z   []float64
	lo, hi float64
}

func newQuantizer(lo, hi int32, tensors []Array) quantizer {
	q := quantizer{s: tensors[0].V, z: make([]float64, tensors[0].Len()), lo: float64(lo), hi: float64(hi)}
	if len(tensors) > 1 {
		q.z = tensors[1].V
	}
	return q
}

// at returns element i's quotient x/s, its nearest integer, and the least and the
// largest integer, all less the zero point. There is no negative zero among them.
func (q quantizer) at(i int, x float64) (u, r, least, most float64) {
	k := i % len(q.s)
	u = float64(float32(x) / float32(q.s[k]))
	return u, math.RoundToEven(u) + 0, q.lo - q.z[k], q.hi - q.z[k]
}

func fakeQuant(op engine.FakeQuant, in, out []Array) {
	q := newQuantizer(op.Lo, op.Hi, in[1:])
	for i, x := range in[0].V {
		_, r, least, most := q.at(i, x)
		out[0].V[i] = float64(float32(min(max(r, least), most)) * float32(q.s[i%len(q.s)]))
	}
}

func fakeQuantBackward(op engine.FakeQuantBackward, in, out []Array) {
	dy, x := in[0], in[1]
	q := newQuantizer(op.Lo, op.Hi, in[2:])
	ds := make([]sum, len(q.s))
	for i, d := range dy.V {
		u, r, least, most := q.at(i, x.V[i])
		k := i % len(ds)
		switch {
		case r < least:
			ds[k].dot(d, least)
		case r > most:
			ds[k].dot(d, most)
		default:
			out[0].V[i] = d
			ds[k].dot(d, r-u)
		}
	}
	for k, d := range ds {
		out[1].set(k, d.mul(exact(float64(op.Gain))))
	}
	out[1].K = x.Len() / len(ds)
}
