package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(groupNorm)
	define(groupNormBackward)
}

// groupsOf calls f for every group of channels in every image of x [N,H,W,C],
// with its number and its elements.
func groupsOf(x engine.Spec, groups int, f func(at int, elements []int)) {
	n, h, w, c, _ := x.NHWC()
	for at := range n * groups {
		b, first := at/groups, at%groups*(c/groups)
		var elements []int
		for p := range h * w {
			for k := range c / groups {
				elements = append(elements, (b*h*w+p)*c+first+k)
			}
		}
		f(at, elements)
	}
}

func groupNorm(op engine.GroupNorm, in, out []Array) {
	x, gamma, beta := in[0].V, in[1].V, in[2].V
	m := len(x) / out[1].Len()
	groupsOf(in[0].Spec, op.Groups, func(at int, elements []int) {
		values := make([]float64, m)
		for k, i := range elements {
			values[k] = x[i]
		}
		mean, v := moments(values)
		r := invStd(v, op.Eps)
		out[1].set(at, mean)
		out[2].set(at, r)
		for _, i := range elements {
			k := i % len(gamma)
			out[0].set(i, normalize(x[i], mean, r, gamma[k], beta[k]))
		}
	})
	setK(out, m)
}

func groupNormBackward(_ engine.GroupNormBackward, in, out []Array) {
	x, dy, gamma, mean, r := in[0], in[1], in[2], in[3], in[4]
	c := len(gamma.V)
	dGamma, dBeta := make([]sum, c), make([]sum, c)
	groupsOf(x.Spec, mean.Shape[1], func(at int, elements []int) {
		normGroup{x.V, dy.V, gamma.V, exact(mean.V[at]), exact(r.V[at])}.backward(elements, out[0], dGamma, dBeta)
	})
	setNormGradients(out, dGamma, dBeta, len(x.V)/mean.Len(), len(x.V)/c)
}
