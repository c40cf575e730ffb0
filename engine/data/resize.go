package data

import "math"

// view is a rectangle of 8-bit RGB pixels inside a larger picture; stride is
// the distance between rows in bytes.
type view struct {
	pix    []uint8
	h, w   int
	stride int
}

func viewOf(m Image) view { return view{pix: m.Pix, h: m.H, w: m.W, stride: m.W * 3} }

// sub returns the rectangle of size h×w at row y, column x.
func (v view) sub(y, x, h, w int) view {
	return view{pix: v.pix[y*v.stride+x*3:], h: h, w: w, stride: v.stride}
}

// resampler holds the weights of n outputs of one axis, from the first on: output
// first+i is the sum over k of weight[i·width+k]·input[start[i]+k], in 22-bit
// fixed point.
type resampler struct {
	in, out, first, n, width int
	start, count             []int32
	weight                   []int32
	tmp                      []float64
}

const resampleBits = 32 - 8 - 2

// plan computes the triangle filter's weights for in → out samples, of which n
// are wanted, from the first on. The filter is stretched by the scale when
// shrinking, which is what torchvision means by antialias and what PIL's bilinear
// resize always does:
//
//	s = max(in/out, 1), center c = (i+½)·in/out,
//	weight(k) ∝ max(0, 1-|k+½-c|/s), normalized to one
func (r *resampler) plan(in, out, first, n int) {
	if r.in == in && r.out == out && r.first == first && r.n == n {
		return
	}
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	r.in, r.out, r.first, r.n = in, out, first, n
	r.width = int(math.Ceil(support))*2 + 1
	r.start, r.count = grow(r.start, n), grow(r.count, n)
	r.weight, r.tmp = grow(r.weight, n*r.width), grow(r.tmp, r.width)
	for i := range n {
		c := (float64(first+i) + 0.5) * scale
		lo := max(int(c-support+0.5), 0)
		hi := min(int(c+support+0.5), in)
		sum := 0.0
		for k := range hi - lo {
			w := max(0, 1-math.Abs((float64(k+lo)-c+0.5)*(1/support)))
			r.tmp[k] = w
			sum += w
		}
		for k := range hi - lo {
			r.weight[i*r.width+k] = int32(math.Floor(0.5 + r.tmp[k]/sum*(1<<resampleBits)))
		}
		r.start[i], r.count[i] = int32(lo), int32(hi-lo)
	}
}

// span returns the inputs that the outputs need: from lo up to, not with, hi.
func (r *resampler) span() (lo, hi int) {
	return int(r.start[0]), int(r.start[r.n-1] + r.count[r.n-1])
}

// resizeScratch is what a resize needs between calls.
type resizeScratch struct {
	x, y resampler
	mid  []uint8
}

// resize writes src, scaled to h×w by the antialiased bilinear filter, into
// dst (h·w·3 bytes): first along rows, then along columns, with 8 bits in
// between, so that results equal PIL's to the bit.
func (s *resizeScratch) resize(dst []uint8, src view, h, w int) {
	s.region(dst, src, h, w, rect{h: h, w: w})
}

// rect is a rectangle of h×w pixels with its first pixel at row y, column x.
type rect struct{ y, x, h, w int }

// region writes the part r of what resize gives for h×w into dst (r.h·r.w·3
// bytes). It takes memory and time for the part alone, however large the whole.
func (s *resizeScratch) region(dst []uint8, src view, h, w int, r rect) {
	top, bottom := r.y, r.y+r.h
	if src.h != h {
		s.y.plan(src.h, h, r.y, r.h)
		top, bottom = s.y.span()
	}
	mid := view{h: bottom - top, w: r.w, stride: r.w * 3}
	if src.w == w {
		mid = src.sub(top, r.x, mid.h, r.w)
	} else {
		s.x.plan(src.w, w, r.x, r.w)
		s.mid = grow(s.mid, mid.h*mid.stride)
		mid.pix = s.mid
		for y := range mid.h {
			resampleRow(s.mid[y*mid.stride:][:mid.stride], src.pix[(top+y)*src.stride:], &s.x)
		}
	}
	for y := range r.h {
		row := dst[y*r.w*3 : (y+1)*r.w*3]
		if src.h == h {
			copy(row, mid.pix[y*mid.stride:])
			continue
		}
		k0, n := int(s.y.start[y])-top, int(s.y.count[y])
		wt := s.y.weight[y*s.y.width : y*s.y.width+n]
		for i := range row {
			acc := int32(1 << (resampleBits - 1))
			at := k0*mid.stride + i
			for _, k := range wt {
				acc += int32(mid.pix[at]) * k
				at += mid.stride
			}
			row[i] = clamp8(acc >> resampleBits)
		}
	}
}

func resampleRow(dst, src []uint8, r *resampler) {
	for i := range r.n {
		k0, n := int(r.start[i]), int(r.count[i])
		wt := r.weight[i*r.width : i*r.width+n]
		p := src[k0*3 : (k0+n)*3]
		a := int32(1 << (resampleBits - 1))
		b, c := a, a
		for k, v := range wt {
			q := p[k*3 : k*3+3 : k*3+3]
			a += int32(q[0]) * v
			b += int32(q[1]) * v
			c += int32(q[2]) * v
		}
		d := dst[i*3 : i*3+3 : i*3+3]
		d[0], d[1], d[2] = clamp8(a>>resampleBits), clamp8(b>>resampleBits), clamp8(c>>resampleBits)
	}
}

// shorterSide returns the size of a picture of h×w whose shorter side is scaled
// to size, the longer one truncated to int(size·long/short) as torchvision
// does.
func shorterSide(h, w, size int) (int, int) {
	if w <= h {
		return int(float64(size*h) / float64(w)), size
	}
	return size, int(float64(size*w) / float64(h))
}

// grow returns s with length n, reusing its memory where that suffices.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func clamp8(v int32) uint8 {
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return uint8(v)
}
