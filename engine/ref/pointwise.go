package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(func(_ engine.Div, in, out []Array) {
		for i, a := range in[0].V {
			out[0].set(i, exact(a).div(exact(in[1].V[i])).stored())
		}
	})
	define(func(_ engine.Maximum, in, out []Array) { choose(in, out, 1) })
	define(func(_ engine.Minimum, in, out []Array) { choose(in, out, -1) })
	define(chosenBackward)
}

// choose takes the larger of two numbers times sign; a NaN wins.
func choose(in, out []Array, sign float64) {
	for i, a := range in[0].V {
		b := in[1].V[i]
		if b*sign > a*sign || math.IsNaN(b) {
			a = b
		}
		out[0].V[i] = a
	}
}

func chosenBackward(op engine.ChosenBackward, in, out []Array) {
	a, b, dy := in[0], in[1], in[2]
	sign := 1.0
	if op.Least {
		sign = -1
	}
	for i, d := range dy.V {
		switch {
		case a.V[i]*sign > b.V[i]*sign:
			out[0].V[i] = d
		case a.V[i] == b.V[i]:
			out[0].V[i] = d / 2
		}
	}
}
