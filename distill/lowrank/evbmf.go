package lowrank

import "math"

// evbmf returns the rank that empirical variational Bayesian matrix factorization
// gives a matrix of L×M, L ≤ M, with the singular values s (Nakajima et al., "Global
// analytic solution of fully-observed variational Bayesian matrix factorization",
// JMLR 14, 2013): the number of those above √(M·σ²·x̄), where the variance σ² of the
// noise minimizes the free energy. It may be 0.
func evbmf(s []float64, l, m int) int {
	if l > m {
		l, m = m, l
	}
	L, M, h := float64(l), float64(m), len(s)
	alpha := L / M
	tauBar := 2.5129 * math.Sqrt(alpha)
	xBar := (1 + tauBar) * (1 + alpha/tauBar)
	all := 0.0
	for _, v := range s {
		all += v * v
	}
	if all == 0 {
		return 0
	}
	e := min(int(math.Ceil(L/(1+alpha)))-1, h) - 1
	e = max(min(e, h-2), 0)
	rest := 0.0
	for _, v := range s[min(e+1, h-1):] {
		rest += v * v
	}
	lo := max(s[min(e+1, h-1)]*s[min(e+1, h-1)]/(M*xBar), rest/float64(h-min(e+1, h-1))/M)
	hi := all / (L * M)
	if !(lo < hi) {
		lo = hi * 1e-3
	}
	tau := func(x float64) float64 {
		y := x - 1 - alpha
		return (y + math.Sqrt(max(y*y-4*alpha, 0))) / 2
	}
	energy := func(variance float64) float64 {
		sum := (L - float64(h)) * math.Log(variance)
		for _, v := range s {
			x := v * v / (M * variance)
			if x <= xBar {
				sum += x - math.Log(max(x, 1e-300))
				continue
			}
			t := tau(x)
			sum += x - t + math.Log((t+1)/x) + alpha*math.Log(t/alpha+1)
		}
		return sum
	}
	variance := minimize(energy, lo, hi)
	threshold := math.Sqrt(M * variance * xBar)
	rank := 0
	for _, v := range s {
		if v > threshold {
			rank++
		}
	}
	return rank
}

// found returns the rank that evbmf finds, at least 1, and keeps it.
func (d *decomposition) found() int {
	if d.noise == 0 {
		d.noise = max(1, evbmf(d.sigma, d.m.rows, d.m.cols))
	}
	return d.noise
}

// minimize returns where f is least between lo and hi: the best of a grid of the
// logarithm, refined by golden sections (Kiefer, 1953).
func minimize(f func(float64) float64, lo, hi float64) float64 {
	const grid = 64
	at := func(i int) float64 { return math.Exp(math.Log(lo) + (math.Log(hi)-math.Log(lo))*float64(i)/grid) }
	best := 0
	for i := 1; i <= grid; i++ {
		if f(at(i)) < f(at(best)) {
			best = i
		}
	}
	a, b := at(max(best-1, 0)), at(min(best+1, grid))
	golden := (math.Sqrt(5) - 1) / 2
	for range 60 {
		c, d := b-golden*(b-a), a+golden*(b-a)
		if f(c) < f(d) {
			b = d
		} else {
			a = c
		}
	}
	return (a + b) / 2
}

// weakened returns the rank that takes a share of the way from the full rank to the
// one that was found, at least 1.
func weakened(full, found int, share float64) int {
	return max(1, full-int(share*float64(full-found)))
}
