package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(prelu)
	define(preluBackward)
}

func prelu(_ engine.PReLU, in, out []Array) {
	x, w := in[0], in[1]
	for i, v := range x.V {
		if v > 0 {
			out[0].V[i] = v
		} else {
			out[0].set(i, exact(v).mul(exact(w.V[i%w.Len()])))
		}
	}
}

func preluBackward(_ engine.PReLUBackward, in, out []Array) {
	x, w, dy := in[0], in[1], in[2]
	dw := make([]sum, w.Len())
	for i, d := range dy.V {
		k := i % w.Len()
		if x.V[i] > 0 {
			out[0].V[i] = d
		} else {
			out[0].set(i, exact(d).mul(exact(w.V[k])))
			dw[k].dot(d, x.V[i])
		}
	}
	for k, d := range dw {
		out[1].set(k, d.num)
	}
	out[1].K = x.Len() / w.Len()
}
