package ref

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/random"
)

func init() { define(stochasticDepth) }

func stochasticDepth(op engine.StochasticDepth, in, out []Array) {
	x, c := in[0], in[1]
	key := [2]uint32{uint32(c.V[0]), uint32(c.V[1])}
	keep := exact(1 - float64(op.P))
	each := x.Len() / x.Shape[0]
	for i := range x.V {
		n := i / each
		words := random.Philox([4]uint32{uint32(n / 4), op.Stream, uint32(c.V[2]), uint32(c.V[3])}, key)
		if words[n%4] >= op.Threshold() {
			out[0].set(i, exact(x.V[i]).div(keep))
		}
	}
}
