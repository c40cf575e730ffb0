//go:build !cgo

package cpu

// sides are the arrays of one picture: the large side x (or dx), the small
// side y (or dy).
func (a *poolArgs) sides(large, small ptr, task int64) (x, y []float32) {
	nx, ny := a.h*a.w*a.c, a.oh*a.ow*a.c
	return f32(large, a.n*nx)[task*nx:][:nx], f32(small, a.n*ny)[task*ny:][:ny]
}

// A poolSpan is pool_span of args.h.
type poolSpan struct{ first, end, divisor int64 }

func poolSpanAt(spans ptr, i int64) poolSpan {
	s := i64(spans, 3*i+3)[3*i:]
	return poolSpan{s[0], s[1], s[2]}
}

// window calls f with the places in x of the pixels of a window.
func (a *poolArgs) window(r, q poolSpan, f func(at int64)) {
	for u := r.first; u < r.end; u += a.dilh {
		for v := q.first; v < q.end; v += a.dilw {
			f((u*a.w + v) * a.c)
		}
	}
}

// windows calls f for each window with its place in y.
func (a *poolArgs) windows(f func(at int64, r, q poolSpan)) {
	for i := range a.oh {
		for j := range a.ow {
			f((i*a.ow+j)*a.c, poolSpanAt(a.rowSpans, i), poolSpanAt(a.colSpans, j))
		}
	}
}

// winner returns the place in x of the first largest value of a window's
// channel; a NaN wins.
func (a *poolArgs) winner(x []float32, c int64, r, q poolSpan) int64 {
	best := (r.first*a.w+q.first)*a.c + c
	for u := r.first; u < r.end; u += a.dilh {
		for v := q.first; v < q.end; v += a.dilw {
			at := (u*a.w+v)*a.c + c
			if x[at] > x[best] || x[at] != x[at] {
				best = at
			}
		}
	}
	return best
}

// rowWindows calls f for each window of a task's rows of y, with its picture.
func (a *poolArgs) rowWindows(task int64, f func(x, y []float32, r, q poolSpan)) {
	size := a.h * a.w * a.c
	xs, ys := f32(a.x, a.n*size), f32(a.y, a.n*a.oh*a.ow*a.c)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	for row := lo; row < hi; row++ {
		r := poolSpanAt(a.rowSpans, row%a.oh)
		for j := range a.ow {
			f(xs[row/a.oh*size:][:size], ys[(row*a.ow+j)*a.c:][:a.c], r, poolSpanAt(a.colSpans, j))
		}
	}
}

func maxPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	a.rowWindows(task, func(x, y []float32, r, q poolSpan) {
		for c := range a.c {
			y[c] = x[a.winner(x, c, r, q)]
		}
	})
}

func maxPoolBackward(p ptr, task int64) {
	a := (*poolArgs)(p)
	x, dy := a.sides(a.x, a.dy, task)
	dx, _ := a.sides(a.y, a.dy, task)
	clear(dx)
	a.windows(func(at int64, r, q poolSpan) {
		for c := range a.c {
			dx[a.winner(x, c, r, q)] += dy[at+c]
		}
	})
}

func avgPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	a.rowWindows(task, func(x, y []float32, r, q poolSpan) {
		clear(y)
		a.window(r, q, func(at int64) { axpy(1, x[at:][:a.c], y) })
		scale := 1 / float32(r.divisor*q.divisor)
		for c := range y {
			y[c] *= scale
		}
	})
}

func avgPoolBackward(p ptr, task int64) {
	a := (*poolArgs)(p)
	dx, dy := a.sides(a.y, a.dy, task)
	clear(dx)
	a.windows(func(at int64, r, q poolSpan) {
		scale := 1 / float32(r.divisor*q.divisor)
		a.window(r, q, func(to int64) { axpy(scale, dy[at:at+a.c], dx[to:][:a.c]) })
	})
}

func globalPool(p ptr, task int64) {
	a := (*poolArgs)(p)
	m, chunks := a.h*a.w, (a.c+a.rows-1)/a.rows
	lo, hi := taskRange(task%chunks, a.rows, a.c)
	x, y := f32(a.x, a.n*m*a.c)[task/chunks*m*a.c:], f32(a.y, a.n*a.c)[task/chunks*a.c:][lo:hi]
	clear(y)
	for i := range m {
		axpy(1, x[i*a.c+lo:][:hi-lo], y)
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
