package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/half"
)

func init() { define(cast) }

// toBFloat16 rounds x to bfloat16, nearest and even.
func toBFloat16(x float64) float64 {
	return float64(half.ToBFloat16(float32(x)).Float32())
}

func cast(op engine.Cast, in, out []Array) {
	for i, x := range in[0].V {
		if op.To == engine.BFloat16 {
			x = toBFloat16(x)
		}
		out[0].V[i] = x
	}
}

// onRoundedWeight computes out, of which the first is the result, from inputs of
// which in[1] is a weight. If the activations are bfloat16 the weight is rounded
// to bfloat16 first, and the distance to the result with the weight as it is
// becomes part of out[0].Slack: a backend may do either.
func onRoundedWeight(in, out []Array, f func(in, out []Array)) {
	y := out[0]
	if y.DType != engine.BFloat16 {
		f(in, out)
		return
	}
	exact := scratch(y.Spec)
	f(in, []Array{exact})
	w := NewArray(in[1].Spec)
	for i, v := range in[1].V {
		w.V[i] = toBFloat16(v)
	}
	rounded := append([]Array{in[0], w}, in[2:]...)
	f(rounded, out)
	for i := range y.V {
		out[0].loosen(i, math.Abs(y.V[i]-exact.V[i]))
	}
}

// loosen adds to the Slack of element i.
func (a *Array) loosen(i int, distance float64) {
	if a.Slack == nil {
		a.Slack = make([]float64, len(a.V))
	}
	a.Slack[i] += distance
}

// mayRound lets a backend round v to bfloat16 on its way to element i, once: by
// half the distance to the next one, at most 2⁻⁸ of v.
func (a *Array) mayRound(i int, v float64) { a.loosen(i, 0x1p-8*math.Abs(v)) }
