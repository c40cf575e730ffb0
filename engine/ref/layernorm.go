package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(layerNorm)
	define(layerNormBackward)
}

// moments returns the mean of x and its variance about it. The mean's error is
// that of its sum. The variance's is what Welford's update and shifted sums
// achieve: v times the condition number √(1+μ²/v) of the problem (Chan, Golub and
// LeVeque, 1983); Σx²/M - μ² does not.
func moments(x []float64) (mean, variance num) {
	m := float64(len(x))
	var s sum
	for _, v := range x {
		s.dot(v, 1)
	}
	mean = num{s.v / m, s.e / m}
	v := 0.0
	for _, x := range x {
		d := x - mean.v
		v += d * d / m
	}
	return mean, num{v, math.Sqrt(v * (v + mean.v*mean.v))}
}

func layerNorm(op engine.LayerNorm, in, out []Array) {
	x, gamma, beta := in[0].V, in[1].V, in[2].V
	c := len(gamma)
	for row := 0; row < len(x); row += c {
		mean, v := moments(x[row : row+c])
		r := invStd(v, op.Eps)
		for k := range c {
			out[0].set(row+k, normalize(x[row+k], mean, r, gamma[k], beta[k]))
		}
	}
	out[0].K = c
}

func layerNormBackward(op engine.LayerNormBackward, in, out []Array) {
	x, dy, gamma := in[0].V, in[1].V, in[2].V
	c := len(gamma)
	dGamma, dBeta := make([]sum, c), make([]sum, c)
	group := make([]int, c)
	for row := 0; row < len(x); row += c {
		mean, v := moments(x[row : row+c])
		for k := range group {
			group[k] = row + k
		}
		normGroup{x, dy, gamma, mean, invStd(v, op.Eps)}.backward(group, out[0], dGamma, dBeta)
	}
	setNormGradients(out, dGamma, dBeta, c, len(x)/c)
}

// A normGroup is what elements that are normalized together have in common.
type normGroup struct {
	x, dy, gamma []float64
	mean, r      num
}

// backward sets dx of the elements, and adds them to the sums of dγ and dβ.
func (n normGroup) backward(group []int, dx Array, dGamma, dBeta []sum) {
	c := len(n.gamma)
	xhat := func(i int) num { return exact(n.x[i]).sub(n.mean).mul(n.r) }
	var s1, s2 sum
	for _, i := range group {
		g := exact(n.dy[i]).mul(exact(n.gamma[i%c]))
		s1.add(g)
		s2.add(g.mul(xhat(i)))
		dGamma[i%c].add(exact(n.dy[i]).mul(xhat(i)))
		dBeta[i%c].dot(n.dy[i], 1)
	}
	inv := exact(1 / float64(len(group)))
	for _, i := range group {
		g := exact(n.dy[i]).mul(exact(n.gamma[i%c]))
		dx.set(i, n.r.mul(g.sub(s1.mul(inv)).sub(xhat(i).mul(s2.mul(inv)))))
	}
}

// setNormGradients stores dγ and dβ, sums over so many pixels, of elements that
// are normalized `together` at a time.
func setNormGradients(out []Array, dGamma, dBeta []sum, together, pixels int) {
	for k := range dGamma {
		out[1].set(k, dGamma[k].num)
		out[2].set(k, dBeta[k].num)
	}
	out[0].K, out[1].K, out[2].K = together, max(together, pixels), pixels
}
