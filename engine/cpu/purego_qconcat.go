//go:build !cgo

package cpu

func qconcat(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	x, y := u8(a.x, a.n*a.c), u8(a.y, a.n*a.yc)
	for r := lo; r < hi; r++ {
		copy(y[r*a.yc+a.y0:], x[r*a.c:(r+1)*a.c])
	}
}

func qflatten(p ptr, image int64) {
	a := (*codesArgs)(p)
	n := a.pixels * a.c
	x, y := u8(a.x, (image+1)*n)[image*n:], u8(a.y, (image+1)*n)[image*n:]
	for i, v := range x {
		y[int64(i)%a.c*a.pixels+int64(i)/a.c] = v
	}
}
