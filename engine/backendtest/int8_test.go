package backendtest

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// int8Bugs are the mistakes that are easy with bytes.
func int8Bugs() []bug {
	return []bug{
		{name: "codes without a sign", stem: "PointwiseInt8", eval: on(func(_ engine.Op, in []ref.Array) {
			for i, v := range in[1].V {
				in[1].V[i] = math.Min(v, 127)
			}
		})},
		{name: "x truncated to a byte", stem: "PointwiseInt8", eval: on(func(op engine.Op, in []ref.Array) {
			for i := range in[0].V {
				in[0].V[i] -= 0.4 * float64(op.(engine.PointwiseInt8).Max) / 255
			}
		})},
		{name: "the largest code is one less", stem: "PointwiseInt8", eval: on(cut)},
		{name: "the sum of x runs over half of it", stem: "PointwiseInt8", eval: on(func(_ engine.Op, in []ref.Array) { in[3].V[0] /= 2 })},
		{name: "a NaN becomes a byte", stem: "PointwiseInt8", eval: on(func(_ engine.Op, in []ref.Array) { dropNaN(in[0].V, 0) })},
		{name: "one range for all channels", stem: "QuantizeWeight",
			eval: as(func(op engine.QuantizeWeight) engine.QuantizeWeight { op.PerChannel = false; return op })},
		{name: "codes where there are no weights", stem: "QuantizeWeight", eval: then(func(_ engine.Op, _, out []ref.Array) {
			c := out[0].V
			c[len(c)-1]++
		})},
	}
}

// cut makes the largest codes smaller by one.
func cut(_ engine.Op, in []ref.Array) {
	for i, v := range in[1].V {
		if v == 127 {
			in[1].V[i] = 126
		}
	}
}
