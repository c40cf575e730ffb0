package picture

import "encoding/binary"

// orientation returns the orientation in the first directory of a TIFF structure,
// which EXIF data are, or 0 if there is none.
func orientation(b []byte) int {
	if v, ok := tiffShort(b, 274); ok && v <= 8 {
		return v
	}
	return 0
}

// tiffShort returns the first 16-bit value of a tag in the first directory of a
// TIFF structure.
func tiffShort(b []byte, tag uint16) (value int, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(b[4:]))
	if order.Uint16(b[2:]) != 42 || at+2 > int64(len(b)) {
		return 0, false
	}
	const short, entry = 3, 12
	n, b := int(order.Uint16(b[at:])), b[at+2:]
	for ; n > 0 && len(b) >= entry; n, b = n-1, b[entry:] {
		if order.Uint16(b) == tag && order.Uint16(b[2:]) == short {
			return int(order.Uint16(b[8:])), true
		}
	}
	return 0, false
}

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
