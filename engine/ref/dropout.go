package ref

import (
	"math/bits"

	"github.com/potstill/potstill/engine"
)

func init() { define(dropout) }

// Philox returns the four words of Philox4x32-10 for a counter and a key
// (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011, section 3.3).
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, counter[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

func dropout(op engine.Dropout, in, out []Array) {
	x, c := in[0], in[1]
	key := [2]uint32{uint32(c.V[0]), uint32(c.V[1])}
	keep := exact(1 - float64(op.P))
	for i := range x.V {
		words := Philox([4]uint32{uint32(i / 4), op.Stream, uint32(c.V[2]), uint32(c.V[3])}, key)
		if words[i%4] >= op.Threshold() {
			out[0].set(i, exact(x.V[i]).div(keep))
		}
	}
}
