//go:build !cgo

package cpu

func strip(p ptr, task int64) {
	a := (*stripArgs)(p)
	x, y := f32(a.x, a.m*a.xc), f32(a.y, a.m*a.yc)
	lo, hi := taskRange(task, a.rows, a.m)
	for r := lo; r < hi; r++ {
		row := y[r*a.yc:][:a.yc]
		if a.fill != 0 {
			clear(row)
		}
		copy(row[a.y0:a.y0+a.n], x[r*a.xc+a.x0:])
	}
}
