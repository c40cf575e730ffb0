//go:build !cgo

package cpu

import "math"

// logSumExp is log Σ exp(x/t).
func logSumExp(x []float32, t float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		if !(float64(v) <= top) { // a NaN stays
			top = float64(v)
		}
	}
	for _, v := range x {
		sum += math.Exp((float64(v) - top) / t)
	}
	return top/t + math.Log(sum)
}

// row is row n of a matrix with k columns.
func (a *lossArgs) row(p ptr, n int64) []float32 { return f32(p, a.n*a.k)[n*a.k:][:a.k] }

// smoothed is the target of class i after label smoothing.
func (a *lossArgs) smoothed(t []float32, i int) float64 {
	return (1-a.param)*float64(t[i]) + a.param/float64(a.k)
}

func crossEntropy(p ptr, _ int64) {
	a := (*lossArgs)(p)
	loss := 0.0
	for n := range a.n {
		x, t := a.row(a.x, n), a.row(a.t, n)
		z := logSumExp(x, 1)
		for i := range x {
			loss -= a.smoothed(t, i) * (float64(x[i]) - z)
		}
	}
	*(*float32)(a.y) = float32(loss / float64(a.n))
}

func crossEntropyBackward(p ptr, task int64) {
	a := (*lossArgs)(p)
	x, t, dx := a.row(a.x, task), a.row(a.t, task), a.row(a.y, task)
	z, scale, total := logSumExp(x, 1), float64(*(*float32)(a.dloss))/float64(a.n), 0.0
	for i := range t {
		total += a.smoothed(t, i)
	}
	for i := range x {
		dx[i] = float32(scale * (math.Exp(float64(x[i])-z)*total - a.smoothed(t, i)))
	}
}

func klDiv(p ptr, _ int64) {
	a := (*lossArgs)(p)
	T, loss := a.param, 0.0
	for n := range a.n {
		s, t := a.row(a.x, n), a.row(a.t, n)
		zs, zt := logSumExp(s, T), logSumExp(t, T)
		for i := range s {
			lp := float64(t[i])/T - zt
			loss += math.Exp(lp) * (lp - (float64(s[i])/T - zs))
		}
	}
	*(*float32)(a.y) = float32(T * T * loss / float64(a.n))
}

func klDivBackward(p ptr, task int64) {
	a := (*lossArgs)(p)
	T := a.param
	s, t, ds := a.row(a.x, task), a.row(a.t, task), a.row(a.y, task)
	zs, zt, scale := logSumExp(s, T), logSumExp(t, T), float64(*(*float32)(a.dloss))*T/float64(a.n)
	for i := range s {
		ds[i] = float32(scale * (math.Exp(float64(s[i])/T-zs) - math.Exp(float64(t[i])/T-zt)))
	}
}
