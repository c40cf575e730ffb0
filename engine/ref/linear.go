package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(linear)
	define(linearBackwardData)
	define(linearBackwardWeight)
}

func linear(_ engine.Linear, in, out []Array) { onRoundedWeight(in, out, multiply) }

func multiply(in, out []Array) {
	x, w, y := in[0], in[1], out[0]
	n, i, o := x.Shape[0], w.Shape[0], w.Shape[1]
	for r := range n {
		for c := range o {
			var s sum
			for k := range i {
				s.dot(x.V[r*i+k], w.V[k*o+c])
			}
			if len(in) == 3 {
				if y.DType == engine.BFloat16 {
					out[0].mayRound(r*o+c, s.v)
					out[0].mayRound(r*o+c, in[2].V[c])
				}
				s.dot(in[2].V[c], 1)
			}
			y.set(r*o+c, s.num)
		}
	}
	out[0].K = i + len(in) - 2
}

func linearBackwardData(_ engine.LinearBackwardData, in, out []Array) {
	onRoundedWeight(in, out, multiplyBack)
}

func multiplyBack(in, out []Array) {
	dy, w, dx := in[0], in[1], out[0]
	n, i, o := dy.Shape[0], w.Shape[0], w.Shape[1]
	for r := range n {
		for c := range i {
			var s sum
			for k := range o {
				s.dot(dy.V[r*o+k], w.V[c*o+k])
			}
			dx.set(r*i+c, s.num)
		}
	}
	out[0].K = o
}

func linearBackwardWeight(op engine.LinearBackwardWeight, in, out []Array) {
	x, dy, dw := in[0], in[1], out[0]
	n, i, o := x.Shape[0], x.Shape[1], dy.Shape[1]
	for r := range i {
		for c := range o {
			var s sum
			for k := range n {
				s.dot(x.V[k*i+r], dy.V[k*o+c])
			}
			dw.set(r*o+c, s.num)
		}
	}
	out[0].K = n
	if op.Bias {
		channelSums(dy, out[1])
		out[1].K = n
	}
}

// channelSums sets y[c] to the sum of x over every axis but the last.
func channelSums(x, y Array) {
	c := len(y.V)
	for k := range c {
		var s sum
		for i := k; i < len(x.V); i += c {
			s.dot(x.V[i], 1)
		}
		y.set(k, s.num)
	}
}
