//go:build !cgo

package cpu

// tapRange is the part of a kernel of k places that lies inside n when its
// first place is at start.
func tapRange(start, dil, k, n int64) (lo, hi int64) {
	if start < 0 {
		lo = (-start + dil - 1) / dil
	}
	if start < n {
		hi = min(k, (n-start+dil-1)/dil)
	}
	return lo, hi
}

// taps calls f for each tap of output place (row, j) that lies inside, with
// the place of its x and its number.
func (a *depthwiseArgs) eachTap(row, j int64, f func(at, tap int64)) {
	h0, w0 := row%a.oh*a.sh-a.top, j*a.sw-a.left
	u0, u1 := tapRange(h0, a.dilh, a.kh, a.h)
	v0, v1 := tapRange(w0, a.dilw, a.kw, a.wd)
	for u := u0; u < u1; u++ {
		for v := v0; v < v1; v++ {
			f((((row/a.oh)*a.h+h0+u*a.dilh)*a.wd+w0+v*a.dilw)*a.c, u*a.kw+v)
		}
	}
}

func depthwise(p ptr, task int64) {
	a := (*depthwiseArgs)(p)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	x, w, bias := f32(a.x, a.n*a.h*a.wd*a.c), f32(a.w, a.kh*a.kw*a.c), f32(a.bias, a.c)
	y, residual := f32(a.y, a.n*a.oh*a.ow*a.c), f32(a.residual, a.n*a.oh*a.ow*a.c)
	for row := lo; row < hi; row++ {
		for j := range a.ow {
			out := y[(row*a.ow+j)*a.c:][:a.c]
			clear(out)
			copy(out, bias)
			a.eachTap(row, j, func(at, tap int64) {
				if a.flip != 0 {
					tap = a.kh*a.kw - 1 - tap
				}
				wt := w[tap*a.c:][:a.c]
				for c, v := range x[at:][:a.c] {
					out[c] += v * wt[c]
				}
			})
			if residual != nil {
				for c, r := range residual[(row*a.ow+j)*a.c:][:a.c] {
					out[c] += r
				}
			}
			if a.act != 0 {
				for c := range out {
					out[c] = activate(out[c], a.act)
				}
			}
			if a.more.f != 0 {
				a.more.apply(out, out)
			}
		}
	}
}

func depthwiseData(p ptr, task int64) {
	a := (*depthwiseArgs)(p)
	lo, hi := taskRange(task, a.rows, a.n*a.h)
	dy, w := f32(a.dy, a.n*a.oh*a.ow*a.c), f32(a.w, a.kh*a.kw*a.c)
	dx := f32(a.y, a.n*a.h*a.wd*a.c)
	for row := lo; row < hi; row++ {
		for x := range a.wd {
			out := dx[(row*a.wd+x)*a.c:][:a.c]
			clear(out)
			for u := range a.kh {
				i := row%a.h + a.top - u*a.dilh
				for v := range a.kw {
					j := x + a.left - v*a.dilw
					if i < 0 || j < 0 || i%a.sh != 0 || j%a.sw != 0 || i/a.sh >= a.oh || j/a.sw >= a.ow {
						continue
					}
					wt := w[(u*a.kw+v)*a.c:][:a.c]
					for c, d := range dy[((row/a.h*a.oh+i/a.sh)*a.ow+j/a.sw)*a.c:][:a.c] {
						out[c] += d * wt[c]
					}
				}
			}
		}
	}
}

func depthwiseWeight(p ptr, task int64) {
	a := (*depthwiseArgs)(p)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	taps := a.kh * a.kw
	x, dy := f32(a.x, a.n*a.h*a.wd*a.c), f32(a.dy, a.n*a.oh*a.ow*a.c)
	dw := f32(a.dw, a.tasks*taps*a.c)[task*taps*a.c:][:taps*a.c]
	clear(dw)
	var db []float32
	if a.db != nil {
		db = f32(a.db, a.tasks*a.c)[task*a.c:][:a.c]
		clear(db)
	}
	for row := lo; row < hi; row++ {
		for j := range a.ow {
			d := dy[(row*a.ow+j)*a.c:][:a.c]
			if db != nil {
				axpy(1, d, db)
			}
			a.eachTap(row, j, func(at, tap int64) {
				out := dw[tap*a.c:][:a.c]
				for c, v := range x[at:][:a.c] {
					out[c] += v * d[c]
				}
			})
		}
	}
}
