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
	full := append([]Array{scratch(in[0].Spec)}, out[1:]...)
	batchNorm(op.BatchNorm, in, full)
	copy(out[1:], full[1:]) // their K
	z := full[0]
	for i, v := range z.V {
		z.V[i] = act(op.F, v)
	}
	if op.Pool == nil {
		copy(y.V, z.V)
		copy(y.Mag, z.Mag)
	} else {
		maxOf(*op.Pool, z, y)
	}
	out[0].K = z.K
}

// maxOf sets y to the largest of each window of z.
func maxOf(w engine.Window, z, y Array) {
	windows(w, z.Spec, y.Spec, func(at int, xs []int) {
		y.V[at] = z.V[winner(z.V, xs)]
		for _, i := range xs { // whichever wins
			y.Mag[at] = max(y.Mag[at], z.Mag[i])
		}
	})
}

func batchNormActBackward(op engine.BatchNormActBackward, in, out []Array) {
	x, dy, gamma, beta, mean, r := in[0], in[1], in[2], in[3], in[4], in[5]
	c := len(gamma.V)
	y := make([]float64, len(x.V)) // f(BatchNorm(x))
	for i, v := range x.V {
		k := i % c
		y[i] = act(op.F, normalize(v, exact(mean.V[k]), exact(r.V[k]), gamma.V[k], beta.V[k]).v)
	}
	dz := NewArray(x.Spec)
	if op.Pool == nil {
		copy(dz.V, dy.V)
	} else {
		windows(*op.Pool, x.Spec, dy.Spec, func(at int, xs []int) { dz.V[winner(y, xs)] += dy.V[at] })
	}
	for i := range dz.V {
		if !slope(op.F, y[i]) {
			dz.V[i] = 0
		}
	}
	batchNormBackward(engine.BatchNormBackward{}, []Array{x, dz, gamma, mean, r}, out)
}
