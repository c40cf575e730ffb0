//go:build !cgo

package cpu

// sides are the arrays of one picture: the large side x (or dx), the small
// side y (or dy).
func (a *poolArgs) sides(large, small ptr, task int64) (x, y []float32) {
	nx, ny := a.h*a.w*a.c, a.oh*a.ow*a.c
	return f32(large, a.n*nx)[task*nx:][:nx], f32(small, a.n*ny)[task*ny:][:ny]
}

// windows calls f for each window with its place in y and its part inside x.
func (a *poolArgs) windows(f func(at, h0, h1, w0, w1 int64)) {
	for i := range a.oh {
		h0 := i*a.stride - a.pad
		for j := range a.ow {
			w0 := j*a.stride - a.pad
			f((i*a.ow+j)*a.c, max(h0, 0), min(h0+a.kernel, a.h), max(w0, 0), min(w0+a.kernel, a.w))
		}
	}
}

// winner returns the place in x of the first largest value of a window's
// channel; a NaN wins.
func (a *poolArgs) winner(x []float32, c, h0, h1, w0, w1 int64) int64 {
	best := (h0*a.w+w0)*a.c + c
	for u := h0; u < h1; u++ {
		for v := w0; v < w1; v++ {
			at := (u*a.w+v)*a.c + c
			if x[at] > x[best] || x[at] != x[at] {
				best = at
			}
		}
	}
	return best
}

// rowWindows calls f for each window of a task's rows of y, with its picture.
func (a *poolArgs) rowWindows(task int64, f func(x, y []float32, h0, h1, w0, w1 int64)) {
	size := a.h * a.w * a.c
	xs, ys := f32(a.x, a.n*size), f32(a.y, a.n*a.oh*a.ow*a.c)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	for row := lo; row < hi; row++ {
		h0 := row%a.oh*a.stride - a.pad
		for j := range a.ow {
			w0 := j*a.stride - a.pad
			f(xs[row/a.oh*size:][:size], ys[(row*a.ow+j)*a.c:][:a.c], max(h0, 0), min(h0+a.kernel, a.h), max(w0, 0), min(w0+a.kernel, a.w))
		}
	}
}

func maxPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	a.rowWindows(task, func(x, y []float32, h0, h1, w0, w1 int64) {
		for c := range a.c {
			y[c] = x[a.winner(x, c, h0, h1, w0, w1)]
		}
	})
}

func maxPoolBackward(p ptr, task int64) {
	a := (*poolArgs)(p)
	x, dy := a.sides(a.x, a.dy, task)
	dx, _ := a.sides(a.y, a.dy, task)
	clear(dx)
	a.windows(func(at, h0, h1, w0, w1 int64) {
		for c := range a.c {
			dx[a.winner(x, c, h0, h1, w0, w1)] += dy[at+c]
		}
	})
}

func avgPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	scale := 1 / float32(a.kernel*a.kernel)
	a.rowWindows(task, func(x, y []float32, h0, h1, w0, w1 int64) {
		clear(y)
		for u := h0; u < h1; u++ {
			for v := w0; v < w1; v++ {
				axpy(1, x[(u*a.w+v)*a.c:][:a.c], y)
			}
		}
		for c := range y {
			y[c] *= scale
		}
	})
}

func avgPoolBackward(p ptr, task int64) {
	a := (*poolArgs)(p)
	dx, dy := a.sides(a.y, a.dy, task)
	scale := 1 / float32(a.kernel*a.kernel)
	clear(dx)
	a.windows(func(at, h0, h1, w0, w1 int64) {
		for u := h0; u < h1; u++ {
			for v := w0; v < w1; v++ {
				axpy(scale, dy[at:at+a.c], dx[(u*a.w+v)*a.c:][:a.c])
			}
		}
	})
}

func globalPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	m := a.h * a.w
	x, y := f32(a.x, a.n*m*a.c)[task*m*a.c:], f32(a.y, a.n*a.c)[task*a.c:][:a.c]
	clear(y)
	for i := range m {
		axpy(1, x[i*a.c:][:a.c], y)
	}
	for c := range y {
		y[c] /= float32(m)
	}
}

func globalPoolBackward(p ptr, task int64) {
	a := (*poolArgs)(p)
	m := a.h * a.w
	dx, dy := f32(a.y, a.n*m*a.c)[task*m*a.c:][:m*a.c], f32(a.dy, a.n*a.c)[task*a.c:][:a.c]
	for i := range dx {
		dx[i] = dy[int64(i)%a.c] / float32(m)
	}
}
