package picture

// orient turns a picture upright that was stored in an orientation as EXIF numbers
// them: 2 mirrored, 3 turned by 180°, 4 upside down, 5 transposed, 6 to be turned
// by 90° clockwise, 7 transposed the other way, 8 to be turned by 90° counter-
// clockwise.
func orient(m Image, o int) Image {
	if o < 2 || o > 8 {
		return m
	}
	out := Image{Pix: make([]uint8, len(m.Pix)), H: m.H, W: m.W}
	if o > 4 {
		out.H, out.W = m.W, m.H
	}
	out.each(func(x, y int, p []uint8) {
		sx, sy := x, y
		if o > 4 {
			sx, sy = y, x
		}
		if o == 2 || o == 3 || o == 7 || o == 8 {
			sx = m.W - 1 - sx
		}
		if o == 3 || o == 4 || o == 6 || o == 7 {
			sy = m.H - 1 - sy
		}
		copy(p, m.Pix[3*(sy*m.W+sx):])
	})
	return out
}
