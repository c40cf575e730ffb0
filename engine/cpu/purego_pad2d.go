//go:build !cgo

package cpu

func pad2d(p ptr, task int64) {
	a := (*pad2dArgs)(p)
	x, y := f32(a.x, a.n*a.h*a.w*a.c), f32(a.y, a.n*a.oh*a.ow*a.c)
	rows, cols := i64(a.rowFrom, a.oh), i64(a.colFrom, a.ow)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	for row := lo; row < hi; row++ {
		r := rows[row%a.oh]
		for j, q := range cols {
			to := y[(row*a.ow+int64(j))*a.c:][:a.c]
			if r >= 0 && q >= 0 {
				copy(to, x[((row/a.oh*a.h+r)*a.w+q)*a.c:])
				continue
			}
			for c := range to {
				to[c] = float32(a.value)
			}
		}
	}
}

func pad2dBackward(p ptr, task int64) {
	a := (*pad2dArgs)(p)
	size, padded := a.h*a.w*a.c, a.oh*a.ow*a.c
	dy, dx := f32(a.x, a.n*padded)[task*padded:], f32(a.y, a.n*size)[task*size:][:size]
	clear(dx)
	for i, r := range i64(a.rowFrom, a.oh) {
		for j, q := range i64(a.colFrom, a.ow) {
			if r >= 0 && q >= 0 {
				axpy(1, dy[(int64(i)*a.ow+int64(j))*a.c:][:a.c], dx[(r*a.w+q)*a.c:][:a.c])
			}
		}
	}
}
