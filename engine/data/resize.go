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

// resampler holds the weights of one axis: output i is the sum over k of
// weight[i·width+k]·input[start[i]+k], in 22-bit fixed point.
type resampler struct {
	in, out, width int
	start, count   []int32
	weight         []int32
	tmp            []float64
}

const resampleBits = 32 - 8 - 2

// plan computes the triangle filter's weights for in → out samples. The filter
// is stretched by the scale when shrinking, which is what torchvision means by
// antialias and what PIL's bilinear resize always does:
//
//	s = max(in/out, 1), centre c = (i+½)·in/out,
//	weight(k) ∝ max(0, 1-|k+½-c|/s), normalised to one
func (r *resampler) plan(in, out int) {
	if r.in == in && r.out == out {
		return
	}
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	r.in, r.out = in, out
	r.width = int(math.Ceil(support))*2 + 1
	r.start, r.count = grow(r.start, out), grow(r.count, out)
	r.weight, r.tmp = grow(r.weight, out*r.width), grow(r.tmp, r.width)
	for i := range out {
		c := (float64(i) + 0.5) * scale
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

// resizeScratch is what a resize needs between calls.
type resizeScratch struct {
	x, y resampler
	mid  []uint8
}

// resize writes src, scaled to h×w by the antialiased bilinear filter, into
// dst (h·w·3 bytes): first along rows, then along columns, with 8 bits in
// between, so that results equal PIL's to the bit.
func (s *resizeScratch) resize(dst []uint8, src view, h, w int) {
	mid := src
	if src.w != w {
		s.x.plan(src.w, w)
		s.mid = grow(s.mid, src.h*w*3)
		mid = view{pix: s.mid, h: src.h, w: w, stride: w * 3}
		for y := range src.h {
			resampleRow(s.mid[y*w*3:(y+1)*w*3], src.pix[y*src.stride:], &s.x)
		}
	}
	if src.h == h {
		for y := range h {
			copy(dst[y*w*3:(y+1)*w*3], mid.pix[y*mid.stride:])
		}
		return
	}
	s.y.plan(src.h, h)
	for y := range h {
		k0, n := int(s.y.start[y]), int(s.y.count[y])
		wt := s.y.weight[y*s.y.width : y*s.y.width+n]
		row := dst[y*w*3 : (y+1)*w*3]
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
	for i := range r.out {
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
