package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(quantize)
	define(dequantize)
	define(lookup256)
}

// code is the code of v, in float32, for engine.Codes.
func code(c engine.Codes, v float32) float64 {
	least, most := float32(c.Lo-c.Zero), float32(c.Hi-c.Zero)
	if !(v >= least) { // a NaN, too
		v = least
	}
	return math.RoundToEven(float64(min(v, most))) + float64(c.Zero)
}

func quantize(op engine.Quantize, in, out []Array) {
	for i, x := range in[0].V {
		out[0].V[i] = code(op.Y, float32(x)/op.Y.Scale)
	}
}

func dequantize(op engine.Dequantize, in, out []Array) {
	for i, x := range in[0].V {
		out[0].V[i] = float64((float32(x) - float32(op.X.Zero)) * op.X.Scale)
	}
}

func lookup256(_ engine.Lookup, in, out []Array) {
	for i, x := range in[0].V {
		out[0].V[i] = in[1].V[int(x)]
	}
}
