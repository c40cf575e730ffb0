//go:build !cgo

package cpu

import "unsafe"

func mse(p ptr, task int64) {
	a := (*mseArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	x, t, s := f32(a.x, a.n), f32(a.t, a.n), 0.0
	for i := lo; i < hi; i++ {
		d := float64(x[i]) - float64(t[i])
		s += d * d
	}
	*(*float64)(unsafe.Add(a.part, 8*task)) = s
}

func mseTotal(p ptr, _ int64) {
	a := (*mseArgs)(p)
	s := 0.0
	for i := range a.parts {
		s += *(*float64)(unsafe.Add(a.part, 8*i))
	}
	*(*float32)(a.y) = float32(s / float64(a.n))
}

func mseBackward(p ptr, task int64) {
	a := (*mseArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	x, t, y := f32(a.x, a.n), f32(a.t, a.n), f32(a.y, a.n)
	scale := float32(2 * float64(*(*float32)(a.dloss)) / float64(a.n))
	for i := lo; i < hi; i++ {
		y[i] = scale * (x[i] - t[i])
	}
}
