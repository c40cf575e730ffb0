package jpeg

import "image"

// ycbcrToRGB converts a JPEG's planes to RGB. Subsampled chroma is interpolated
// with the triangle filter that libjpeg calls fancy upsampling (each output
// sample is 3/4 of the nearer and 1/4 of the farther input sample per axis),
// and not replicated as image.YCbCr's own conversion does, because libjpeg is
// what PIL, and with it torchvision, reads files with. Without this, colors
// beside edges differ by tens of levels from the pictures that published
// networks were trained on.
func ycbcrToRGB(out []uint8, m *image.YCbCr) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch, sx, sy := chromaShape(m.SubsampleRatio, w, h)
	cb, cr := make([]int32, w), make([]int32, w)
	sum := make([]int32, cw)
	for y := range h {
		chromaRow(cb, sum, m.Cb, m.CStride, y, cw, ch, sx, sy)
		chromaRow(cr, sum, m.Cr, m.CStride, y, cw, ch, sx, sy)
		yy := m.Y[y*m.YStride : y*m.YStride+w]
		dst := out[y*w*3 : (y+1)*w*3]
		for x, l := range yy {
			l, b, r := int32(l), cb[x]-128, cr[x]-128
			p := dst[x*3 : x*3+3 : x*3+3]
			p[0] = clamp(l + (fixCrR*r+half16)>>16)
			p[1] = clamp(l + (-fixCbG*b-fixCrG*r+half16)>>16)
			p[2] = clamp(l + (fixCbB*b+half16)>>16)
		}
	}
}

// chromaShape returns the size of the chroma planes and the subsampling of x
// and y.
func chromaShape(s image.YCbCrSubsampleRatio, w, h int) (cw, ch, sx, sy int) {
	sx, sy = 1, 1
	switch s {
	case image.YCbCrSubsampleRatio422:
		sx = 2
	case image.YCbCrSubsampleRatio420:
		sx, sy = 2, 2
	case image.YCbCrSubsampleRatio440:
		sy = 2
	case image.YCbCrSubsampleRatio411:
		sx = 4
	case image.YCbCrSubsampleRatio410:
		sx, sy = 4, 2
	}
	return (w + sx - 1) / sx, (h + sy - 1) / sy, sx, sy
}

// chromaRow writes row y of one chroma plane at full resolution. The plane has
// ch rows of cw samples; sum is scratch of cw. Factors of four, and planes at
// most two samples wide, are replicated, as in libjpeg.
func chromaRow(dst, sum []int32, plane []uint8, stride, y, cw, ch, sx, sy int) {
	near := y / sy
	row := plane[near*stride : near*stride+cw]
	fancyX := sx == 2 && cw > 2
	fancyY := sy == 2 && (fancyX || sx == 1)
	if !fancyX && !fancyY {
		for x := range dst {
			dst[x] = int32(row[x/sx])
		}
		return
	}
	if !fancyY {
		for i, v := range row {
			sum[i] = int32(v)
		}
		triangle(dst, sum, 1, 2, 2)
		return
	}
	far := min(max(near-1+2*(y&1), 0), ch-1)
	other := plane[far*stride : far*stride+cw]
	for i, v := range row {
		sum[i] = 3*int32(v) + int32(other[i])
	}
	if !fancyX {
		bias := int32(1 + y&1)
		for x := range dst {
			dst[x] = (sum[x] + bias) >> 2
		}
		return
	}
	triangle(dst, sum, 8, 7, 4)
}

// triangle doubles a row: dst[2i] = (3·s[i]+s[i-1]+even) >> shift and
// dst[2i+1] = (3·s[i]+s[i+1]+odd) >> shift, neighbors clamped at both ends.
func triangle(dst, s []int32, even, odd int32, shift uint) {
	last := len(s) - 1
	for x := range dst {
		i := x >> 1
		if x&1 == 0 {
			dst[x] = (3*s[i] + s[max(i-1, 0)] + even) >> shift
		} else {
			dst[x] = (3*s[i] + s[min(i+1, last)] + odd) >> shift
		}
	}
}
