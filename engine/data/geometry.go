package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
)

// symmetric maps an index of a line of n samples that is continued by
// reflection with the edge sample repeated (… 1 0 | 0 1 … n-1 | n-1 n-2 …, NumPy's
// "symmetric") to the sample it shows. It reflects as often as needed.
func symmetric(i, n int) int {
	i %= 2 * n
	if i < 0 {
		i += 2 * n
	}
	if i >= n {
		i = 2*n - 1 - i
	}
	return i
}

// symmetricCrop draws the first sample of a random crop of size along one axis of
// n samples. As torchvision does, the line is first padded by pad on both sides,
// and then, where it is still shorter than the crop, by (crop - length) on both
// sides; the second padding reflects what the first one made.
func symmetricCrop(n, size, pad int, r *random.Rand) int {
	padded := n + 2*pad
	extra := max(size-padded, 0)
	return r.IntN(padded+2*extra-size+1) - extra - pad
}

// centerCrop returns the first sample of the center crop of size along one axis
// of n samples. A start within the line is rounded half to even; a line that is
// too short is padded by ⌊d/2⌋ before and ⌈d/2⌉ after.
func centerCrop(n, size int) int {
	if size > n {
		return -((size - n) / 2)
	}
	return int(math.RoundToEven(float64(n-size) / 2))
}

// fill writes the source sample of each sample of a crop that starts at the
// given one, along an axis of n samples, counted from the first that is needed;
// -1 is zero. It returns that first sample and the number up to the last.
func (c *choice) fill(idx []int32, start, n int) (first, count int) {
	first, last := n, -1
	for i := range idx {
		if j := c.sample(start+i, n); j >= 0 {
			first, last = min(first, j), max(last, j)
		}
	}
	if last < 0 { // all is zero
		first, last = 0, 0
	}
	for i := range idx {
		j := c.sample(start+i, n)
		idx[i] = int32(max(j-first, -1))
	}
	return first, last - first + 1
}

// sample returns the sample of an axis of n that stands at place j, or a large
// negative number for zero.
func (c *choice) sample(j, n int) int {
	switch {
	case c.symmetric:
		return symmetric(symmetric(j+c.padding, n+2*c.padding)-c.padding, n)
	case j < 0 || j >= n:
		return math.MinInt32
	}
	return j
}

// draw chooses RandomResizedCrop's rectangle in an image of h×w: ten attempts
// at an area and an aspect ratio, then the largest central part of an allowed
// ratio.
func (c *ScaleRatio) draw(h, w int, r *random.Rand) (y, x, ch, cw int) {
	area := float64(h) * float64(w)
	l0, l1 := math.Log(c.Ratio[0]), math.Log(c.Ratio[1])
	for range 10 {
		target := area * r.Uniform(c.Scale[0], c.Scale[1])
		aspect := math.Exp(r.Uniform(l0, l1))
		cw = int(math.RoundToEven(math.Sqrt(target * aspect)))
		ch = int(math.RoundToEven(math.Sqrt(target / aspect)))
		if cw > 0 && cw <= w && ch > 0 && ch <= h {
			y = r.IntN(h - ch + 1)
			x = r.IntN(w - cw + 1)
			return y, x, ch, cw
		}
	}
	return c.central(h, w)
}

func (c *ScaleRatio) central(h, w int) (y, x, ch, cw int) {
	cw, ch = w, h
	switch in := float64(w) / float64(h); {
	case in < c.Ratio[0]:
		ch = min(max(int(math.RoundToEven(float64(w)/c.Ratio[0])), 1), h)
	case in > c.Ratio[1]:
		cw = min(max(int(math.RoundToEven(float64(h)*c.Ratio[1])), 1), w)
	}
	return (h - ch) / 2, (w - cw) / 2, ch, cw
}

// rotation returns the inverse map of a counter-clockwise rotation by degrees
// about the center of h×w pixels, in 16.16 fixed point: output pixel (x, y)
// shows source pixel ((x0 + ax·x + bx·y)>>16, (y0 + ay·x + by·y)>>16). The
// rounding is PIL's, so that the choice of every pixel is too.
func rotation(h, w int, degrees float64) (x0, ax, bx, y0, ay, by int32) {
	rad := -math.Mod(degrees, 360) * math.Pi / 180
	cos, sin := round15(math.Cos(rad)), round15(math.Sin(rad))
	cx, cy := float64(w)/2, float64(h)/2
	tx := cos*-cx + sin*-cy + cx
	ty := -sin*-cx + cos*-cy + cy
	fix := func(v float64) int32 { return int32(math.Floor(v*65536 + 0.5)) }
	return fix(tx + cos*0.5 + sin*0.5), fix(cos), fix(sin),
		fix(ty - sin*0.5 + cos*0.5), fix(-sin), fix(cos)
}

func round15(v float64) float64 { return math.RoundToEven(v*1e15) / 1e15 }

// gatherFloat writes the crop, unrotated, as floats.
func (s *scratch) gatherFloat(dst []float32, v view, h, w int) {
	cols := s.cols[:w]
	l0, l1, l2 := &s.lut[0], &s.lut[1], &s.lut[2]
	for y, sy := range s.rows[:h] {
		out := dst[y*w*3 : (y+1)*w*3]
		if sy < 0 {
			fillZero(out, l0[0], l1[0], l2[0])
			continue
		}
		row := v.pix[int(sy)*v.stride:]
		for x, sx := range cols {
			o := out[x*3 : x*3+3 : x*3+3]
			if sx < 0 {
				o[0], o[1], o[2] = l0[0], l1[0], l2[0]
				continue
			}
			p := row[int(sx)*3 : int(sx)*3+3 : int(sx)*3+3]
			o[0], o[1], o[2] = l0[p[0]], l1[p[1]], l2[p[2]]
		}
	}
}

func fillZero(out []float32, a, b, c float32) {
	for i := 0; i+3 <= len(out); i += 3 {
		out[i], out[i+1], out[i+2] = a, b, c
	}
}

// gatherFloatRotated is the fused pass: rotation, flip, crop, reflection, /255
// and normalization of each output pixel.
func (s *scratch) gatherFloatRotated(dst []float32, v view, h, w int, degrees float64) {
	x0, ax, bx, y0, ay, by := rotation(h, w, degrees)
	rows, cols := s.rows[:h], s.cols[:w]
	l0, l1, l2 := &s.lut[0], &s.lut[1], &s.lut[2]
	for y := range h {
		out := dst[y*w*3 : (y+1)*w*3]
		xx, yy := x0, y0
		for x := 0; x < len(out); x += 3 {
			o := out[x : x+3 : x+3]
			ix, iy := int(xx>>16), int(yy>>16)
			xx += ax
			yy += ay
			sx, sy := int32(-1), int32(-1)
			if uint(ix) < uint(len(cols)) && uint(iy) < uint(len(rows)) {
				sx, sy = cols[ix], rows[iy]
			}
			if sx|sy < 0 {
				o[0], o[1], o[2] = l0[0], l1[0], l2[0]
				continue
			}
			at := int(sy)*v.stride + int(sx)*3
			p := v.pix[at : at+3 : at+3]
			o[0], o[1], o[2] = l0[p[0]], l1[p[1]], l2[p[2]]
		}
		x0 += bx
		y0 += by
	}
}

// gather writes the crop, unrotated, as bytes.
func (s *scratch) gather(dst []uint8, v view, h, w int) {
	s.gatherRotated(dst, v, h, w, 0)
}

// gatherRotated writes the rotated crop as bytes, for stages that follow.
func (s *scratch) gatherRotated(dst []uint8, v view, h, w int, degrees float64) {
	x0, ax, bx, y0, ay, by := rotation(h, w, degrees)
	for y := range h {
		out := dst[y*w*3 : (y+1)*w*3]
		xx, yy := x0, y0
		for x := 0; x < len(out); x += 3 {
			o := out[x : x+3 : x+3]
			ix, iy := int(xx>>16), int(yy>>16)
			xx += ax
			yy += ay
			o[0], o[1], o[2] = 0, 0, 0
			if uint(ix) < uint(w) && uint(iy) < uint(h) {
				if sx, sy := s.cols[ix], s.rows[iy]; sx|sy >= 0 {
					at := int(sy)*v.stride + int(sx)*3
					copy(o, v.pix[at:at+3])
				}
			}
		}
		x0 += bx
		y0 += by
	}
}

func (s *scratch) toFloat(dst []float32, pix []uint8) {
	for i := 0; i+3 <= len(dst); i += 3 {
		dst[i] = s.lut[0][pix[i]]
		dst[i+1] = s.lut[1][pix[i+1]]
		dst[i+2] = s.lut[2][pix[i+2]]
	}
}

// toGray writes the luma of RGB pixels, one channel.
func (s *scratch) toGray(dst []float32, pix []uint8) {
	for i := range dst {
		dst[i] = s.lut[0][luma(pix[3*i:3*i+3])]
	}
}
