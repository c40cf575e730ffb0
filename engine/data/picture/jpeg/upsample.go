package jpeg

// row returns row y of the picture of a component, at full width. Planes of half
// the width, height or both are interpolated by the triangle filter that libjpeg
// calls fancy upsampling: each sample is ¾ of the nearer and ¼ of the farther
// one on each axis, the halves that arise rounded up and down in turns. Samples
// of other ratios, and of planes two samples wide, are repeated. buf has room
// for the width, and one sample more.
func (d *decoder) row(c *component, y int, buf []uint8) []uint8 {
	sx, sy := d.maxH/c.h, d.maxV/c.v
	near := c.line(y / sy)
	switch {
	case sx == 1 && sy == 1:
		return near
	case sx == 2 && sy == 1 && c.width > 2:
		double(buf, near)
	case sx == 1 && sy == 2:
		blend(buf, near, c.line(c.farther(y)), int32(1+y&1))
	case sx == 2 && sy == 2 && c.width > 2:
		doubleBlend(buf, near, c.line(c.farther(y)))
	default:
		repeat(buf[:d.w], near, sx)
	}
	return buf
}

// line returns a row of a component's own samples.
func (c *component) line(y int) []uint8 { return c.samples[y*c.stride:][:c.width:c.width] }

// farther returns the row of a plane of half the height that is the second next
// to row y of the picture, of those there are.
func (c *component) farther(y int) int {
	return min(max(y/2-1+2*(y&1), 0), c.height-1)
}

// double interpolates a row to double width.
func double(dst, src []uint8) {
	last := len(src) - 1
	dst = dst[:2*len(src)]
	dst[0] = src[0]
	dst[2*last+1] = src[last]
	a := int32(src[0])
	for i, v := range src[1:] {
		b := int32(v)
		dst[2*i+1] = uint8((3*a + b + 2) >> 2)
		dst[2*i+2] = uint8((3*b + a + 1) >> 2)
		a = b
	}
}

// blend interpolates between two rows.
func blend(dst, near, far []uint8, bias int32) {
	far, dst = far[:len(near)], dst[:len(near)]
	for i, v := range near {
		dst[i] = uint8((3*int32(v) + int32(far[i]) + bias) >> 2)
	}
}

// doubleBlend interpolates between two rows, and to double width.
func doubleBlend(dst, near, far []uint8) {
	last := len(near) - 1
	far, dst = far[:len(near)], dst[:2*len(near)]
	a := 3*int32(near[0]) + int32(far[0])
	dst[0] = uint8((4*a + 8) >> 4)
	for i := 1; i < len(near); i++ {
		b := 3*int32(near[i]) + int32(far[i])
		dst[2*i-1] = uint8((3*a + b + 7) >> 4)
		dst[2*i] = uint8((3*b + a + 8) >> 4)
		a = b
	}
	dst[2*last+1] = uint8((4*a + 7) >> 4)
}

// repeat repeats every sample n times.
func repeat(dst, src []uint8, n int) {
	for i := range dst {
		dst[i] = src[i/n]
	}
}
