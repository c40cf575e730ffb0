package ref

import "github.com/potstill/potstill/engine"

func init() {
	exchanges(syncBatchNorm)
	exchanges(syncBatchNormBackward)
}

// sumOver adds up what the ranks have, those that are absent left out, in the order of the
// ranks.
func sumOver(p engine.Peers, absent bool, own ...float64) ([]float64, error) {
	n := len(own)
	mine := make([]float64, n)
	if !absent {
		copy(mine, own)
	}
	all := make([]float64, n*p.Size())
	if err := p.AllGather(engine.Bytes(all), engine.Bytes(mine)); err != nil {
		return nil, err
	}
	for r := 1; r < p.Size(); r++ {
		for i := range n {
			all[i] += all[r*n+i]
		}
	}
	return all[:n], nil
}

// syncBatchNorm is batchNorm with the sums of all ranks.
func syncBatchNorm(op engine.SyncBatchNorm, in, out []Array) error {
	x, gamma, beta, mean, variance := in[0], in[1], in[2], in[3], in[4]
	c := len(gamma.V)
	sums := make([]float64, 1+c)
	sums[0] = float64(len(x.V) / c)
	for i, v := range x.V {
		sums[1+i%c] += v
	}
	all, err := sumOver(op.Peers, op.Absent, sums...)
	if err != nil {
		return err
	}
	m := all[0]
	squares := make([]float64, c)
	for i, v := range x.V {
		d := v - all[1+i%c]/m
		squares[i%c] += d * d
	}
	if squares, err = sumOver(op.Peers, op.Absent, squares...); err != nil {
		return err
	}
	for k := range c {
		mu, v := exact(all[1+k]/m), exact(squares[k]/m)
		r := invStd(v, op.Eps)
		for i := k; i < len(x.V); i += c {
			out[0].set(i, normalize(x.V[i], mu, r, gamma.V[k], beta.V[k]))
		}
		out[1].set(k, mu)
		out[2].set(k, r)
		a := exact(float64(op.Momentum))
		keep := exact(1 - a.v)
		out[3].set(k, keep.mul(exact(mean.V[k])).add(a.mul(mu)))
		out[4].set(k, keep.mul(exact(variance.V[k])).add(a.mul(v.mul(exact(m/(m-1))))))
	}
	setK(out, int(m))
	return nil
}

// syncBatchNormBackward is batchNormBackward with the sums of all ranks.
func syncBatchNormBackward(op engine.SyncBatchNormBackward, in, out []Array) error {
	x, dy, gamma, mean, r := in[0], in[1], in[2], in[3], in[4]
	c := len(gamma.V)
	m := float64(len(x.V) / c)
	xhat := func(i int) float64 { return (x.V[i] - mean.V[i%c]) * r.V[i%c] }
	sums := make([]float64, 1+2*c) // of this rank, each times its elements
	sums[0] = m
	for i, d := range dy.V {
		sums[1+i%c] += m * d
		sums[1+c+i%c] += m * d * xhat(i)
	}
	for k := range c {
		out[1].set(k, exact(sums[1+c+k]/m))
		out[2].set(k, exact(sums[1+k]/m))
	}
	all, err := sumOver(op.Peers, op.Absent, sums...)
	if err != nil {
		return err
	}
	for i, d := range dy.V {
		k := i % c
		s, t := all[1+k]/all[0], all[1+c+k]/all[0]
		out[0].set(i, exact(gamma.V[k]*r.V[k]).mul(exact(d-s/m-xhat(i)*t/m)))
	}
	setK(out, int(m))
	return nil
}
