//go:build !cgo

package cpu

import "math"

// stats returns what a row is normalized with.
func (a *layerNormArgs) stats(x []float32) (mean, r float32) {
	s, q := 0.0, 0.0
	for _, v := range x {
		s += float64(v)
	}
	s /= float64(a.c)
	for _, v := range x {
		q += (float64(v) - s) * (float64(v) - s)
	}
	return float32(s), float32(1 / math.Sqrt(q/float64(a.c)+a.eps))
}

func layerNorm(p ptr, task int64) {
	a := (*layerNormArgs)(p)
	xs, ys := f32(a.x, a.m*a.c), f32(a.y, a.m*a.c)
	gamma, beta := f32(a.gamma, a.c), f32(a.beta, a.c)
	lo, hi := taskRange(task, a.rows, a.m)
	for i := lo * a.c; i < hi*a.c; i += a.c {
		x, y := xs[i:i+a.c], ys[i:i+a.c]
		mean, r := a.stats(x)
		for c, v := range x {
			y[c] = (v-mean)*r*gamma[c] + beta[c]
		}
	}
}

func layerNormBackward(p ptr, task int64) {
	a := (*layerNormArgs)(p)
	xs, dys, dxs := f32(a.x, a.m*a.c), f32(a.dy, a.m*a.c), f32(a.y, a.m*a.c)
	gamma, part := f32(a.gamma, a.c), f64(a.part, (task+1)*2*a.c)[task*2*a.c:]
	clear(part)
	dot, sum := part[:a.c], part[a.c:]
	lo, hi := taskRange(task, a.rows, a.m)
	for i := lo * a.c; i < hi*a.c; i += a.c {
		x, dy, dx := xs[i:i+a.c], dys[i:i+a.c], dxs[i:i+a.c]
		mean, r := a.stats(x)
		s1, s2 := 0.0, 0.0
		for c, d := range dy {
			xhat := float64((x[c] - mean) * r)
			sum[c] += float64(d)
			dot[c] += float64(d) * xhat
			s1 += float64(d * gamma[c])
			s2 += float64(d*gamma[c]) * xhat
		}
		m1, m2 := float32(s1/float64(a.c)), float32(s2/float64(a.c))
		for c, d := range dy {
			dx[c] = r * (d*gamma[c] - m1 - (x[c]-mean)*r*m2)
		}
	}
}

func normTotal(p ptr, _ int64) {
	a := (*normTotalArgs)(p)
	part, dgamma, dbeta := f64(a.part, a.parts*2*a.c), f32(a.dgamma, a.c), f32(a.dbeta, a.c)
	for c := range a.c {
		d, s := 0.0, 0.0
		for t := range a.parts {
			d += part[t*2*a.c+c]
			s += part[(t*2+1)*a.c+c]
		}
		dgamma[c], dbeta[c] = float32(d), float32(s)
	}
}
