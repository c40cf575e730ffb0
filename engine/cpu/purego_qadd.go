//go:build !cgo

package cpu

func qadd(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	b, y, m, mb := u8(a.b, a.n)[lo:hi], u8(a.y, a.n)[lo:hi], float32(a.m), float32(a.mb)
	for i, x := range u8(a.x, a.n)[lo:hi] {
		u := float32(float32(int64(x)-a.xzero) * m)
		v := float32(float32(int64(b[i])-a.bzero) * mb)
		y[i] = a.code(u + v)
	}
}

func qmul(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	m := float32(a.m)
	for r := lo; r < hi; r++ {
		b := u8(a.b, (r/a.pixels+1)*a.c)[r/a.pixels*a.c:]
		y := u8(a.y, (r+1)*a.c)[r*a.c:]
		for c, x := range u8(a.x, (r+1)*a.c)[r*a.c:] {
			y[c] = a.code(float32((int64(x)-a.xzero)*(int64(b[c])-a.bzero)) * m)
		}
	}
}
