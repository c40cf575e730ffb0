package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(crossEntropy)
	define(crossEntropyBackward)
	define(klDiv)
	define(klDivBackward)
}

// logSoftmax returns log softmax(x/t), taken as z - log Σ exp(z) with
// z = (x - max x)/t, so that nothing overflows.
func logSoftmax(x []float64, t float64) []num {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	z := make([]num, len(x))
	var s sum
	for k, v := range x {
		z[k] = num{(v - top) / t, math.Abs(v-top) / t}
		if t != 1 { // x/t - max x/t is as good
			z[k].e += (math.Abs(v) + math.Abs(top)) / t
		}
		s.add(z[k].exp())
	}
	l := s.log()
	for k := range z {
		z[k] = z[k].sub(l)
	}
	return z
}

// row returns row n of a matrix.
func row(x Array, n int) []float64 {
	k := x.Shape[1]
	return x.V[n*k : (n+1)*k]
}

// smooth returns q = (1-ε)·target + ε/K.
func smooth(target []float64, eps float32) []num {
	q := make([]num, len(target))
	e := float64(eps)
	for k, t := range target {
		q[k] = exact(1 - e).mul(exact(t)).add(exact(e / float64(len(target))))
	}
	return q
}

func crossEntropy(op engine.CrossEntropy, in, out []Array) {
	n := in[0].Shape[0]
	var loss sum
	for r := range n {
		logp := logSoftmax(row(in[0], r), 1)
		for k, q := range smooth(row(in[1], r), op.LabelSmoothing) {
			loss.add(q.mul(logp[k]))
		}
	}
	out[0].set(0, loss.mul(exact(-1/float64(n))))
	out[0].K = in[0].Len()
}

func crossEntropyBackward(op engine.CrossEntropyBackward, in, out []Array) {
	n, classes := in[0].Shape[0], in[0].Shape[1]
	scale := exact(in[2].V[0]).div(exact(float64(n)))
	for r := range n {
		logp := logSoftmax(row(in[0], r), 1)
		q := smooth(row(in[1], r), op.LabelSmoothing)
		var total sum
		for _, v := range q {
			total.add(v)
		}
		for k := range q {
			out[0].set(r*classes+k, scale.mul(logp[k].exp().mul(total.num).sub(q[k])))
		}
	}
	out[0].K = classes
}

func klDiv(op engine.KLDiv, in, out []Array) {
	n, t := in[0].Shape[0], float64(op.T)
	var loss sum
	for r := range n {
		logq, logp := logSoftmax(row(in[0], r), t), logSoftmax(row(in[1], r), t)
		for k := range logp {
			loss.add(logp[k].exp().mul(logp[k].sub(logq[k])))
		}
	}
	out[0].set(0, loss.mul(exact(t*t/float64(n))))
	out[0].K = in[0].Len()
}

func klDivBackward(op engine.KLDivBackward, in, out []Array) {
	n, classes, t := in[0].Shape[0], in[0].Shape[1], float64(op.T)
	scale := exact(in[2].V[0]).mul(exact(t / float64(n)))
	for r := range n {
		logq, logp := logSoftmax(row(in[0], r), t), logSoftmax(row(in[1], r), t)
		for k := range logp {
			out[0].set(r*classes+k, scale.mul(logq[k].exp().sub(logp[k].exp())))
		}
	}
	out[0].K = classes
}
