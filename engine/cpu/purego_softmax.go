//go:build !cgo

package cpu

import (
	"math"
	"slices"
)

func softmax(p ptr, task int64) {
	a := (*softmaxArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	xs, ys := f32(a.x, a.m*a.c), f32(a.y, a.m*a.c)
	for i := lo * a.c; i < hi*a.c; i += a.c {
		x, y := xs[i:i+a.c], ys[i:i+a.c]
		top, total := float64(slices.Max(x)), 0.0
		for _, v := range x {
			total += math.Exp(float64(v) - top)
		}
		less := math.Log(total)
		for c, v := range x {
			if a.log != 0 {
				y[c] = float32(float64(v) - top - less)
			} else {
				y[c] = float32(math.Exp(float64(v)-top) / total)
			}
		}
	}
}

func softmaxBackward(p ptr, task int64) {
	a := (*softmaxArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	ys, dys, dxs := f32(a.x, a.m*a.c), f32(a.dy, a.m*a.c), f32(a.y, a.m*a.c)
	for i := lo * a.c; i < hi*a.c; i += a.c {
		y, dy, dx := ys[i:i+a.c], dys[i:i+a.c], dxs[i:i+a.c]
		total := 0.0
		for c, d := range dy {
			if a.log != 0 {
				total += float64(d)
			} else {
				total += float64(d) * float64(y[c])
			}
		}
		for c, d := range dy {
			if a.log != 0 {
				dx[c] = float32(float64(d) - math.Exp(float64(y[c]))*total)
			} else {
				dx[c] = float32(float64(y[c]) * (float64(d) - total))
			}
		}
	}
}
