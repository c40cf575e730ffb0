package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(batchNormAct)
	define(batchNormActBackward)
}

// scratch returns an array for a value in between.
func scratch(s engine.Spec) Array {
	a := NewArray(s)
	a.Mag, a.K = make([]float64, s.Len()), 1
	return a
}

func batchNormAct(op engine.BatchNormAct, in, out []Array) {
	y := out[0]
	full := append([]Array{scratch(in[0].Spec)}, out[1:min(len(out), 5)]...)
	batchNorm(op.BatchNorm, in, full)
	copy(out[1:], full[1:]) // their K
	z := full[0]
	for i, v := range z.V {
		z.set(i, act(op.F, num{v, z.Mag[i]}))
	}
	if op.Pool == nil {
		copy(y.V, z.V)
		copy(y.Mag, z.Mag)
	} else {
		maxOf(*op.Pool, z, y)
	}
	if op.Keep {
		x := in[0]
		windows(*op.Pool, op.Pool.Complete().Dilation, x.Spec, y.Spec, func(at, _, _ int, xs []int) {
			out[len(out)-1].set(at, exact(x.V[winner(z.V, xs)]))
		})
	}
	out[0].K = z.K
}

// maxOf sets y to the largest of each window of z.
func maxOf(w engine.Window, z, y Array) {
	windows(w, w.Complete().Dilation, z.Spec, y.Spec, func(at, _, _ int, xs []int) {
		y.V[at] = z.V[winner(z.V, xs)]
		for _, i := range xs { // whichever wins
			y.Mag[at] = max(y.Mag[at], z.Mag[i])
		}
	})
}

func batchNormActBackward(op engine.BatchNormActBackward, in, out []Array) {
	x, dy, gamma, beta, mean, r := in[0], in[1], in[2], in[3], in[4], in[5]
	c := len(gamma.V)
	y, d := make([]float64, len(x.V)), make([]num, len(x.V)) // f and f' of BatchNorm(x)
	for i, v := range x.V {
		k := i % c
		z := normalize(v, exact(mean.V[k]), exact(r.V[k]), gamma.V[k], beta.V[k])
		s := act(op.F, z)
		y[i] = s.v
		if op.F.FromX() {
			s = z
		}
		d[i] = slope(op.F, s)
	}
	dz := NewArray(x.Spec)
	if op.Pool == nil {
		copy(dz.V, dy.V)
	} else {
		windows(*op.Pool, op.Pool.Complete().Dilation, x.Spec, dy.Spec, func(at, _, _ int, xs []int) { dz.V[winner(y, xs)] += dy.V[at] })
	}
	batchNormGradient(x, func(i int) num { return d[i].times(dz.V[i]) }, gamma, mean, r, out)
}
