//go:build !cgo

package cpu

import "math"

// logs sets out to log s of a row's channels.
func (a *responseArgs) logs(x []float32, out []float64) {
	for c := range a.c {
		var s float32
		for _, v := range x[max(c-a.before, 0):min(c+a.behind+1, a.c)] {
			s += v * v
		}
		out[c] = math.Log(a.k + a.scale*float64(s))
	}
}

func localResponse(p ptr, task int64) {
	a := (*responseArgs)(p)
	x, y, logs := f32(a.x, a.m*a.c), f32(a.y, a.m*a.c), make([]float64, a.c)
	lo, hi := taskRange(task, a.rows, a.m)
	for row := lo; row < hi; row++ {
		a.logs(x[row*a.c:][:a.c], logs)
		for c, l := range logs {
			at := row*a.c + int64(c)
			y[at] = x[at] * float32(math.Exp(-a.beta*l))
		}
	}
}

func localResponseBackward(p ptr, task int64) {
	a := (*responseArgs)(p)
	others := f32(floats(a.scratch, int(task*a.c)), a.c)
	logs, scale := make([]float64, a.c), float32(2*a.scale*a.beta)
	lo, hi := taskRange(task, a.rows, a.m)
	for row := lo; row < hi; row++ {
		x, dy, dx := f32(a.x, a.m*a.c)[row*a.c:][:a.c], f32(a.dy, a.m*a.c)[row*a.c:][:a.c], f32(a.y, a.m*a.c)[row*a.c:][:a.c]
		a.logs(x, logs)
		for c, l := range logs {
			dx[c] = dy[c] * float32(math.Exp(-a.beta*l))
			others[c] = dx[c] * x[c] * float32(math.Exp(-l))
		}
		for c := range a.c {
			var s float32
			for _, v := range others[max(c-a.behind, 0):min(c+a.before+1, a.c)] {
				s += v
			}
			dx[c] -= scale * x[c] * s
		}
	}
}
