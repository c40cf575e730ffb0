package ref

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/random"
)

func init() { define(dropout) }

func dropout(op engine.Dropout, in, out []Array) {
	x, c := in[0], in[1]
	key := [2]uint32{uint32(c.V[0]), uint32(c.V[1])}
	keep := exact(1 - float64(op.P))
	for i := range x.V {
		words := random.Philox([4]uint32{uint32(i / 4), op.Stream, uint32(c.V[2]), uint32(c.V[3])}, key)
		if words[i%4] >= op.Threshold() {
			out[0].set(i, exact(x.V[i]).div(keep))
		}
	}
}
