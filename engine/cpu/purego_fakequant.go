//go:build !cgo

package cpu

import "math"

// quantizer returns channel c's scale, and the least and the largest code less
// the zero point.
func (a *channelArgs) quantizer(c int64) (scale, least, most float32) {
	if a.one != 0 {
		c = 0
	}
	least, most = float32(a.lo), float32(a.hi)
	if a.b != nil {
		z := f32(a.b, c+1)[c]
		least, most = least-z, most-z
	}
	return f32(a.w, c+1)[c], least, most
}

func fakeQuant(p ptr, task int64) {
	a := (*channelArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	x, y := f32(a.x, a.m*a.c), f32(a.y, a.m*a.c)
	for c := range a.c {
		scale, least, most := a.quantizer(c)
		for i := lo*a.c + c; i < hi*a.c; i += a.c {
			v := min(max(x[i]/scale, least), most)
			y[i] = (float32(math.RoundToEven(float64(v))) + 0) * scale
		}
	}
}

func fakeQuantBackward(p ptr, task int64) {
	a := (*channelArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	x, dy, dx := f32(a.x, a.m*a.c), f32(a.dy, a.m*a.c), f32(a.y, a.m*a.c)
	part := f64(a.part, (task+1)*2*a.c)[task*2*a.c:]
	clear(part)
	for c := range a.c {
		scale, least, most := a.quantizer(c)
		for i := lo*a.c + c; i < hi*a.c; i += a.c {
			u, g := x[i]/scale, dy[i]
			r := float32(math.RoundToEven(float64(u)))
			t := r - u
			switch {
			case r < least:
				t, g = least, 0
			case r > most:
				t, g = most, 0
			}
			dx[i] = g
			part[c] += float64(dy[i]) * float64(t) * a.gain
		}
	}
}
