package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(add)
	define(fill)
}

func add(op engine.Add, in, out []Array) {
	for i := range out[0].V {
		var s sum
		for k, x := range in {
			s.dot(float64(op.Weight(k)), x.V[i])
		}
		out[0].set(i, s.num)
	}
	out[0].K = len(in)
}

func fill(op engine.Fill, _, out []Array) {
	for i := range out[0].V {
		out[0].V[i] = float64(op.Value)
	}
}
