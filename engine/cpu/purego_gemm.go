//go:build !cgo

package cpu

import "sync"

// pack copies a tap of one group: [group][tap][k][gn], without panels. For
// activations in bfloat16 the weights are rounded to it, and stay float32.
func pack[E stored](p ptr, task int64) {
	a := (*packArgs)(p)
	g, t := task/a.ntaps, task%a.ntaps
	w := floats(a.w, int(i64(a.taps, a.ntaps)[t]*a.tapStride+g*a.gStride))
	src := f32(w, (a.kc-1)*a.kStride+(a.gn-1)*a.nStride+1)
	dst := f32(floats(a.dst, int(g*a.gFloats+t*a.kc*a.gn)), a.kc*a.gn)
	for k := range a.kc {
		for n := range a.gn {
			var e E
			put(&e, src[k*a.kStride+n*a.nStride])
			dst[k*a.gn+n] = get(e)
		}
	}
}

func padImage[E stored](p ptr, task int64) {
	a := (*padArgs)(p)
	ph, pw := a.top+a.h+a.bottom, a.left+a.w+a.right
	n, i := task/ph, task%ph-a.top
	y := elems[E](a.y, a.n*ph*pw*a.c)[task*pw*a.c:][:pw*a.c]
	clear(y)
	if i >= 0 && i < a.h {
		copy(y[a.left*a.c:], elems[E](a.x, a.n*a.h*a.w*a.c)[(n*a.h+i)*a.w*a.c:][:a.w*a.c])
	}
}

// gemmPixels is how many pixels share a pass over the weights.
const gemmPixels = 4

// scratch keeps rows of sums from task to task: a run allocates nothing.
var scratch = sync.Pool{New: func() any { return new([]float32) }}

// borrow returns n floats of any value; scratch.Put gives them back.
func borrow(n int64) *[]float32 {
	s := scratch.Get().(*[]float32)
	if int64(cap(*s)) < n {
		*s = make([]float32, n)
	}
	*s = (*s)[:n]
	return s
}

func igemm[E stored](p ptr, task int64) {
	a := (*igemmArgs)(p)
	split, g := task%a.splits, task/a.splits%a.groups
	lo, hi := taskRange(task/a.splits/a.groups, a.block, a.n*a.gh*a.gw)
	n0, n1 := split*a.share, min((split+1)*a.share, a.gn)
	if n0 >= n1 {
		return
	}
	sums := borrow(gemmPixels * (n1 - n0))
	defer scratch.Put(sums)
	for q := lo; q < hi; q += gemmPixels {
		gemmOf[E](a, *sums, q, min(q+gemmPixels, hi), g, n0, n1)
	}
}

// gemmOf computes columns [n0, n1) of group g for up to gemmPixels pixels. The sums
// are float32, a row of n1-n0 for each pixel.
func gemmOf[E stored](a *igemmArgs, sums []float32, lo, hi, g, n0, n1 int64) {
	x, taps := elems[E](a.x, a.n*a.h*a.w*a.c), i64(a.taps, 2*a.ntaps)
	b := f32(floats(a.b, int(g*a.gFloats)), a.ntaps*a.kc*a.gn)
	size := a.n * a.yh * a.yw * a.yc
	y, bias, res := elems[E](a.y, size), f32(a.bias, a.groups*a.gn), elems[E](a.res, size)
	clear(sums)
	row := func(q int64) []float32 { return sums[(q-lo)*(n1-n0):][:n1-n0] }
	for t := range a.ntaps {
		for q := lo; q < hi; q++ {
			n, i, j := q/(a.gh*a.gw), q/a.gw%a.gh, q%a.gw
			h, w := i*a.sh+taps[2*t], j*a.sw+taps[2*t+1]
			if h < 0 || h >= a.h || w < 0 || w >= a.w {
				continue
			}
			for k, v := range x[((n*a.h+h)*a.w+w)*a.c+g*a.gk:][:a.kc] {
				axpy(get(v), b[(t*a.kc+int64(k))*a.gn+n0:][:n1-n0], row(q))
			}
		}
	}
	for q := lo; q < hi; q++ {
		n, i, j := q/(a.gh*a.gw), q/a.gw%a.gh, q%a.gw
		at := ((n*a.yh+a.yi0+i*a.yis)*a.yw+a.yj0+j*a.yjs)*a.yc + g*a.gn + n0
		s := row(q)
		for c := range s {
			if bias != nil {
				s[c] += bias[g*a.gn+n0+int64(c)]
			}
			if res != nil {
				s[c] += get(res[at+int64(c)])
			}
			s[c] = activate(s[c], a.act)
		}
		if a.more.f != 0 {
			a.more.apply(s, s)
		}
		for c, v := range s {
			put(&y[at+int64(c)], v)
		}
	}
}

func reduce(p ptr, task int64) {
	a := (*reduceArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	x, y := f32(a.x, (a.splits-1)*a.stride+a.n), f32(a.y, a.n)[lo:hi]
	copy(y, x[lo:hi])
	for s := int64(1); s < a.splits; s++ {
		axpy(1, x[s*a.stride+lo:s*a.stride+hi], y)
	}
}

func wgrad[E stored](p ptr, task int64) {
	a := (*wgradArgs)(p)
	unit, g, split := task%a.units, task/a.units%a.groups, task/a.units/a.groups
	parts := (a.kc + a.kblock - 1) / a.kblock
	t0, t1 := taskRange(unit/parts, a.utaps, a.ntaps)
	k0, k1 := taskRange(unit%parts, a.kblock, a.kc)
	m := a.n * a.gh * a.gw
	lo, hi := taskRange(split, a.each, m)
	for t := t0; t < t1; t++ {
		wgradTap[E](a, t, k0, k1, lo, hi, g, split)
	}
	if a.db == nil || unit != 0 {
		return
	}
	dy := elems[E](a.dy, m*a.o)
	db := f32(floats(a.db, int(split*a.o)), a.o)[g*a.gn:][:a.gn]
	clear(db)
	for q := lo; q < hi; q++ {
		for c, v := range dy[q*a.o+g*a.gn:][:a.gn] {
			db[c] += get(v)
		}
	}
}

// wgradTap computes rows [k0, k1) of one tap and group from pixels [lo, hi).
func wgradTap[E stored](a *wgradArgs, tap, k0, k1, lo, hi, g, split int64) {
	m := a.n * a.gh * a.gw
	x, dy, taps := elems[E](a.x, a.n*a.h*a.w*a.c), elems[E](a.dy, m*a.o), i64(a.taps, 2*a.ntaps)
	dw := f32(floats(a.dw, int(split*a.dwFloats)), a.ntaps*a.kc*a.o)
	row := func(k int64) []float32 { return dw[(tap*a.kc+k)*a.o+g*a.gn:][:a.gn] }
	for k := k0; k < k1; k++ {
		clear(row(k))
	}
	row32 := borrow(a.gn)
	defer scratch.Put(row32)
	d := *row32
	for q := lo; q < hi; q++ {
		n, i, j := q/(a.gh*a.gw), q/a.gw%a.gh, q%a.gw
		h, w := i*a.sh+taps[2*tap], j*a.sw+taps[2*tap+1]
		if h < 0 || h >= a.h || w < 0 || w >= a.w {
			continue
		}
		for c, v := range dy[q*a.o+g*a.gn:][:a.gn] {
			d[c] = get(v)
		}
		for k, v := range x[((n*a.h+h)*a.w+w)*a.c+g*a.gk:][k0:k1] {
			axpy(get(v), d, row(k0+int64(k)))
		}
	}
}
