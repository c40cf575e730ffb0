package jpeg

import "encoding/binary"

// zigzag gives the place in a block, row by row, of a coefficient's number in
// the file's order. A damaged file can count beyond 63: such coefficients fall on
// the last, as in libjpeg.
var zigzag = func() (z [128]uint8) {
	x, y := 0, 0
	for k := range 64 {
		z[k] = uint8(y*8 + x)
		switch up := (x+y)%2 == 0; {
		case up && x == 7, !up && y < 7 && x == 0:
			y++
		case up && y == 0, !up && y == 7:
			x++
		case up:
			x, y = x+1, y-1
		default:
			x, y = x-1, y+1
		}
	}
	for k := 64; k < len(z); k++ {
		z[k] = 63
	}
	return z
}()

// quant is a quantization table in the file's order. As in zigzag, the last entry
// stands for all beyond.
type quant [128]int32

// block decodes a block of a sequential scan into b, which must be zero. Every
// coefficient is multiplied by its entry of q (in the file's order), to 16 bits
// as libjpeg's vector code does. pred is the DC value of the block before, in the
// file's units. It returns the number of the last coefficient that is not zero
// (0 is DC), in the file's order.
func (d *decoder) block(b *[64]int32, q *quant, dc, ac *huffman, pred *int32) (last int) {
	r := &d.reader
	if r.n < 32 { // a code and its amplitude have at most 31 bits
		r.fill()
	}
	v, l := d.difference(dc, r.acc)
	*pred += v
	b[0] = int32(int16(int32(int16(*pred)) * q[0]))
	data, pos, acc, n := r.data, r.pos, r.acc<<(l&63), r.n-l
	for k := 1; k < 64; k++ {
		if n < 32 {
			if x, ok := plain(data, pos); ok && r.marker == 0 {
				acc |= x >> (n & 63)
				pos += int(63-n) >> 3
				n |= 56
			} else {
				r.pos, r.acc, r.n = pos, acc, n
				r.fill()
				pos, acc, n = r.pos, r.acc, r.n
			}
		}
		e := ac.look[acc>>(64-lookBits)]
		if l := uint(e & 15); l != 0 {
			acc <<= l
			n -= l
			k += int(e >> 12 & 15)
			b[zigzag[k&127]&63] = int32(int16(int32(e) >> 16 * q[k&127]))
			last = k
			continue
		}
		sym, l := uint8(e>>8), uint(e>>4&15)
		if l == 0 {
			if sym, l = ac.long(acc); l == badCode {
				d.damage |= badCodes
			}
		}
		acc <<= l & 63
		n -= l
		k += int(sym >> 4)
		size := uint(sym & 15)
		if size == 0 {
			if sym != 0xF0 {
				break
			}
			continue
		}
		b[zigzag[k&127]&63] = int32(int16(extend(acc, size) * q[k&127]))
		last = k
		acc <<= size
		n -= size
	}
	r.pos, r.acc, r.n = pos, acc, n
	return last
}

// plain returns the next eight bytes if none of them is 0xFF.
func plain(data []byte, pos int) (x uint64, ok bool) {
	if uint(pos) > uint(len(data)) || len(data)-pos < 8 {
		return 0, false
	}
	x = binary.BigEndian.Uint64(data[pos:])
	return x, (^x-0x0101010101010101)&x&0x8080808080808080 == 0
}

// difference decodes a DC difference from the upper bits of acc, and tells how
// many they were.
func (d *decoder) difference(h *huffman, acc uint64) (v int32, l uint) {
	e := h.look[acc>>(64-lookBits)]
	if l := uint(e & 15); l != 0 {
		return int32(e) >> 16, l
	}
	sym, l := uint8(e>>8), uint(e>>4&15)
	if l == 0 {
		if sym, l = h.long(acc); l == badCode {
			d.damage |= badCodes
		}
	}
	size := uint(sym & 15)
	return extend(acc<<(l&63), size), l + size
}
