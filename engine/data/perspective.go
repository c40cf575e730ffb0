package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
)

// point is a pixel's column and row.
type point struct{ x, y int }

// randomPerspective draws the four corners' new places and returns the inverse
// map's coefficients.
func randomPerspective(w, h int, scale float64, r *random.Rand) [8]float64 {
	dx, dy := int(scale*float64(w/2)), int(scale*float64(h/2))
	// Each corner moves inwards by 0…dx columns and 0…dy rows.
	left := func() int { return r.IntN(dx + 1) }
	top := func() int { return r.IntN(dy + 1) }
	to := [4]point{
		{left(), top()}, {w - 1 - left(), top()},
		{w - 1 - left(), h - 1 - top()}, {left(), h - 1 - top()},
	}
	from := [4]point{{0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1}}
	return perspectiveCoeffs(from, to)
}

// perspectiveCoeffs solves for (a … h) such that each output corner to[i] shows
// the source corner from[i]:
//
//	x' = (a·x + b·y + c)/(g·x + h·y + 1),  y' = (d·x + e·y + f)/(g·x + h·y + 1)
//
// by Gaussian elimination with pivoting in float64; the result is rounded to
// float32, as torchvision's is. A degenerate quadrilateral gives the identity.
func perspectiveCoeffs(from, to [4]point) [8]float64 {
	var m [8][9]float64
	for i := range 4 {
		x, y := float64(to[i].x), float64(to[i].y)
		u, v := float64(from[i].x), float64(from[i].y)
		m[2*i] = [9]float64{x, y, 1, 0, 0, 0, -u * x, -u * y, u}
		m[2*i+1] = [9]float64{0, 0, 0, x, y, 1, -v * x, -v * y, v}
	}
	for c := range 8 {
		p := c
		for i := c + 1; i < 8; i++ {
			if math.Abs(m[i][c]) > math.Abs(m[p][c]) {
				p = i
			}
		}
		if math.Abs(m[p][c]) < 1e-9 {
			return [8]float64{0: 1, 4: 1}
		}
		m[c], m[p] = m[p], m[c]
		for i := range 8 {
			if i == c {
				continue
			}
			f := m[i][c] / m[c][c]
			for k := c; k < 9; k++ {
				m[i][k] -= f * m[c][k]
			}
		}
	}
	var out [8]float64
	for i := range out {
		out[i] = float64(float32(m[i][8] / m[i][i]))
	}
	return out
}

// perspective writes src (h×w RGB) seen through the map c into dst, bilinear
// between pixel centers, zero outside of the source, truncated to 8 bits as PIL
// does it.
func perspective(dst, src []uint8, h, w int, c [8]float64) {
	i := 0
	for y := range h {
		for x := range w {
			o := dst[i : i+3 : i+3]
			i += 3
			px, py := float64(x)+0.5, float64(y)+0.5
			d := c[6]*px + c[7]*py + 1
			u := (c[0]*px + c[1]*py + c[2]) / d
			v := (c[3]*px + c[4]*py + c[5]) / d
			if !(u >= 0 && u < float64(w) && v >= 0 && v < float64(h)) {
				o[0], o[1], o[2] = 0, 0, 0
				continue
			}
			bilinear(o, src, h, w, u-0.5, v-0.5)
		}
	}
}

// bilinear writes the pixel at (u, v), whose neighbors are clamped to the
// picture.
func bilinear(o, src []uint8, h, w int, u, v float64) {
	fx, fy := math.Floor(u), math.Floor(v)
	dx, dy := u-fx, v-fy
	x0, y0 := max(int(fx), 0)*3, max(int(fy), 0)*w*3
	x1, y1 := min(int(fx)+1, w-1)*3, min(int(fy)+1, h-1)*w*3
	for c := range 3 {
		a := float64(src[y0+x0+c])
		a += (float64(src[y0+x1+c]) - a) * dx
		b := float64(src[y1+x0+c])
		b += (float64(src[y1+x1+c]) - b) * dx
		o[c] = uint8(a + (b-a)*dy)
	}
}
