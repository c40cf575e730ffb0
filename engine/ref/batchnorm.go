package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(batchNorm)
	define(batchNormBackward)
	define(batchNormEvalBackward)
	define(foldBatchNorm)
}

// channelStats returns mean and variance of channel k of x, whose last axis has
// c channels; see moments.
func channelStats(x Array, k, c int) (mean, variance num) {
	channel := make([]float64, 0, len(x.V)/c)
	for i := k; i < len(x.V); i += c {
		channel = append(channel, x.V[i])
	}
	return moments(channel)
}

// invStd is 1/√(v+eps).
func invStd(v num, eps float32) num {
	return exact(1).div(v.add(exact(float64(eps))).sqrt())
}

// normalize is (x-μ)·r·γ + β.
func normalize(x float64, mean, r num, gamma, beta float64) num {
	return exact(x).sub(mean).mul(r).mul(exact(gamma)).add(exact(beta))
}

func batchNorm(op engine.BatchNorm, in, out []Array) {
	x, gamma, beta, mean, variance := in[0], in[1], in[2], in[3], in[4]
	c := len(gamma.V)
	m := len(x.V) / c
	for k := range c {
		mu, v := exact(mean.V[k]), exact(variance.V[k])
		if op.Train {
			mu, v = channelStats(x, k, c)
		}
		r := invStd(v, op.Eps)
		for i := k; i < len(x.V); i += c {
			out[0].set(i, normalize(x.V[i], mu, r, gamma.V[k], beta.V[k]))
		}
		if !op.Train {
			continue
		}
		out[1].set(k, mu)
		out[2].set(k, r)
		a := exact(float64(op.Momentum))
		keep := exact(1 - a.v)
		unbiased := v.mul(exact(float64(m) / float64(m-1)))
		out[3].set(k, keep.mul(exact(mean.V[k])).add(a.mul(mu)))
		out[4].set(k, keep.mul(exact(variance.V[k])).add(a.mul(unbiased)))
	}
	if op.Train {
		setK(out, m)
	}
}

func setK(out []Array, k int) {
	for i := range out {
		out[i].K = k
	}
}

func batchNormBackward(_ engine.BatchNormBackward, in, out []Array) {
	dy := in[1]
	batchNormGradient(in[0], func(i int) num { return exact(dy.V[i]) }, in[2], in[3], in[4], out)
}

// batchNormGradient is BatchNormBackward for a dy that has errors of its own.
func batchNormGradient(x Array, dy func(i int) num, gamma, mean, r Array, out []Array) {
	c := len(gamma.V)
	m := len(x.V) / c
	inv := exact(1 / float64(m))
	for k := range c {
		xhat := func(i int) num { return exact(x.V[i]).sub(exact(mean.V[k])).mul(exact(r.V[k])) }
		var dBeta, dGamma sum
		for i := k; i < len(x.V); i += c {
			dBeta.add(dy(i))
			dGamma.add(dy(i).mul(xhat(i)))
		}
		scale := exact(gamma.V[k]).mul(exact(r.V[k]))
		for i := k; i < len(x.V); i += c {
			d := dy(i).sub(dBeta.mul(inv)).sub(xhat(i).mul(dGamma.mul(inv)))
			out[0].set(i, scale.mul(d))
		}
		out[1].set(k, dGamma.num)
		out[2].set(k, dBeta.num)
	}
	setK(out, m)
}

func batchNormEvalBackward(op engine.BatchNormEvalBackward, in, out []Array) {
	x, dy, gamma, mean, variance := in[0], in[1], in[2], in[3], in[4]
	c := len(gamma.V)
	m := len(x.V) / c
	for k := range c {
		r := invStd(exact(variance.V[k]), op.Eps)
		var dBeta, dGamma sum
		for i := k; i < len(x.V); i += c {
			d := exact(dy.V[i])
			out[0].set(i, d.mul(exact(gamma.V[k])).mul(r))
			dGamma.add(d.mul(exact(x.V[i]).sub(exact(mean.V[k]))).mul(r))
			dBeta.dot(dy.V[i], 1)
		}
		out[1].set(k, dGamma.num)
		out[2].set(k, dBeta.num)
	}
	out[1].K, out[2].K = m, m
}

func foldBatchNorm(op engine.FoldBatchNorm, in, out []Array) {
	w, rest := in[0], in[1:]
	c := w.Shape[3]
	b := NewArray(engine.F32(c))
	if op.Bias {
		b, rest = rest[0], rest[1:]
	}
	gamma, beta, mean, variance := rest[0], rest[1], rest[2], rest[3]
	for o := range c {
		s := exact(gamma.V[o]).mul(invStd(exact(variance.V[o]), op.Eps))
		for i := o; i < len(w.V); i += c {
			out[0].set(i, exact(w.V[i]).mul(s))
		}
		out[1].set(o, exact(b.V[o]).sub(exact(mean.V[o])).mul(s).add(exact(beta.V[o])))
	}
}
