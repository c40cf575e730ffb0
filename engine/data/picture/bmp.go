package picture

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// bmpHeader is the header of a BMP of any version, of Windows or OS/2.
type bmpHeader struct {
	w, h    int
	topDown bool
	depth   int // bits a pixel
	packing uint32
	colors  int // entries of the palette
	entry   int // bytes of one
	masks   [3]uint32
	palette []byte // and what follows it
	data    []byte
}

// Ways in which a BMP's pixels are stored.
const (
	bmpPlain = 0
	bmpRLE8  = 1
	bmpRLE4  = 2
	bmpMasks = 3
)

// bmp decodes a BMP: of 1, 2, 4 and 8 bits with a palette, plain or run-length
// coded; of 16, 24 and 32 bits with masks or without. The fourth byte of 32 bits
// is dropped.
func (d *decoder) bmp() (Image, error) {
	h, err := d.bmpHeader()
	if err != nil {
		return Image{}, err
	}
	m := Image{Pix: make([]uint8, 3*h.w*h.h), H: h.h, W: h.w}
	if h.packing == bmpRLE8 || h.packing == bmpRLE4 {
		indices, err := h.unpack()
		if err != nil {
			return Image{}, err
		}
		table := h.table()
		m.each(func(x, y int, p []uint8) { copy(p, table[indices[h.row(y)*h.w+x]][:]) })
		return m, nil
	}
	stride := (h.w*h.depth + 31) / 32 * 4
	if len(h.data) < stride*h.h {
		return Image{}, errCut
	}
	pixel := h.pixel()
	m.each(func(x, y int, p []uint8) { pixel(h.data[h.row(y)*stride:], x, p) })
	return m, nil
}

// row returns the row of the file that is row y of the picture.
func (h *bmpHeader) row(y int) int {
	if h.topDown {
		return y
	}
	return h.h - 1 - y
}

func (d *decoder) bmpHeader() (h bmpHeader, err error) {
	b := d.file
	if len(b) < 26 {
		return h, errCut
	}
	le := binary.LittleEndian
	offset, size := int64(le.Uint32(b[10:])), int(le.Uint32(b[14:]))
	switch size {
	case 12: // of OS/2
		h.w, h.h = int(le.Uint16(b[18:])), int(le.Uint16(b[20:]))
		h.depth, h.entry = int(le.Uint16(b[24:])), 3
	case 40, 52, 56, 64, 108, 124:
		if len(b) < 14+size {
			return h, errCut
		}
		height := int32(le.Uint32(b[22:]))
		h.topDown = height < 0
		h.w, h.h = int(int32(le.Uint32(b[18:]))), max(int(height), -int(height))
		h.depth, h.packing = int(le.Uint16(b[28:])), le.Uint32(b[30:])
		h.colors, h.entry = int(le.Uint32(b[46:])), 4
	default:
		return h, unsupported("BMP", fmt.Sprintf("its header has %d bytes", size))
	}
	if err := d.check("BMP", h.w, h.h); err != nil {
		return h, err
	}
	at := 14 + size
	if h.packing == bmpMasks {
		if at = max(at, 14+40+12); len(b) < at { // behind the header, if it is not long enough
			return h, errCut
		}
		for i := range h.masks {
			h.masks[i] = le.Uint32(b[54+4*i:])
		}
	}
	h.palette = b[at:]
	if h.depth <= 8 && h.colors == 0 {
		h.colors = 1 << h.depth
	}
	if h.depth <= 8 && offset == int64(14+size) { // some forget the palette
		offset += int64(h.entry * h.colors)
	}
	if offset == 0 {
		offset = int64(at)
	}
	if offset > int64(len(b)) {
		return h, errCut
	}
	h.data = b[offset:]
	return h, h.supported()
}

// supported reports what is not read.
func (h *bmpHeader) supported() error {
	palette := h.depth == 1 || h.depth == 2 || h.depth == 4 || h.depth == 8
	switch {
	case !palette && h.depth != 16 && h.depth != 24 && h.depth != 32:
		return unsupported("BMP", fmt.Sprintf("it has %d bits a pixel", h.depth))
	case palette && (h.colors < 1 || h.colors > 1<<16):
		return damaged("BMP", fmt.Sprintf("its palette has %d colors", h.colors))
	case h.packing == bmpPlain, h.packing == bmpMasks && !palette,
		h.packing == bmpRLE8 && h.depth == 8, h.packing == bmpRLE4 && h.depth == 4:
		return nil
	}
	return unsupported("BMP", fmt.Sprintf("its pixels are packed in way %d", h.packing))
}

// table gives all indices a color. Those that the palette lacks are black, or
// gray if all that it has are gray of their own number, as in Pillow.
func (h *bmpHeader) table() (t [256][3]uint8) {
	n := min(h.colors, len(h.palette)/h.entry, 256)
	gray := true
	for i := range n {
		p := h.palette[i*h.entry:]
		t[i] = [3]uint8{p[2], p[1], p[0]}
		gray = gray && t[i] == [3]uint8{uint8(i), uint8(i), uint8(i)}
	}
	for i := n; gray && i < len(t); i++ {
		t[i] = [3]uint8{uint8(i), uint8(i), uint8(i)}
	}
	return t
}

// pixel returns the function that takes pixel x of a row.
func (h *bmpHeader) pixel() func(row []byte, x int, p []uint8) {
	le := binary.LittleEndian
	switch {
	case h.depth <= 8:
		table, perByte, mask := h.table(), 8/h.depth, byte(1<<h.depth-1)
		return func(row []byte, x int, p []uint8) {
			shift := 8 - h.depth*(x%perByte+1)
			copy(p, table[row[x/perByte]>>shift&mask][:])
		}
	case h.depth == 24:
		return func(row []byte, x int, p []uint8) { p[0], p[1], p[2] = row[3*x+2], row[3*x+1], row[3*x] }
	case h.depth == 16:
		if h.packing == bmpPlain {
			h.masks = [3]uint32{0x7C00, 0x3E0, 0x1F}
		}
		return func(row []byte, x int, p []uint8) { h.masked(uint32(le.Uint16(row[2*x:])), p) }
	}
	if h.packing == bmpPlain || h.masks == [3]uint32{} {
		h.masks = [3]uint32{0xFF0000, 0xFF00, 0xFF}
	}
	return func(row []byte, x int, p []uint8) { h.masked(le.Uint32(row[4*x:]), p) }
}

// masked takes the colors of a pixel by their masks, and scales them to 8 bits.
func (h *bmpHeader) masked(v uint32, p []uint8) {
	for i, mask := range h.masks {
		if shift := bits.TrailingZeros32(mask); mask != 0 {
			p[i] = uint8(uint64(v&mask>>shift) * 255 / uint64(mask>>shift))
		}
	}
}

// unpack decodes run lengths into indices, in the order of the file. Pixels that
// are skipped are 0.
func (h *bmpHeader) unpack() ([]uint8, error) {
	out := make([]uint8, h.w*h.h)
	b, at, x := h.data, 0, 0
	for at < len(out) {
		if len(b) < 2 {
			return nil, errCut
		}
		n, v := int(b[0]), b[1]
		b = b[2:]
		switch {
		case n > 0:
			n = min(n, max(h.w-x, 0)) // a run ends with its row
			for i := range min(n, len(out)-at) {
				out[at+i] = h.nibble(v, i)
			}
			at, x = at+n, x+n
		case v == 0: // the end of a row
			if at%h.w != 0 {
				at += h.w - at%h.w
			}
			x = 0
		case v == 1: // of the picture
			return out, nil
		case v == 2:
			if len(b) < 2 {
				return nil, errCut
			}
			at += int(b[0]) + int(b[1])*h.w
			x, b = at%h.w, b[2:]
		default:
			n, size := min(int(v), len(out)-at), int(v)
			if h.packing == bmpRLE4 {
				size = (size + 1) / 2
			}
			if len(b) < size {
				return nil, errCut
			}
			for i := range n {
				c := b[i/2]
				if h.packing == bmpRLE8 {
					c = b[i]
				}
				out[at+i] = h.nibble(c, i)
			}
			at, x = at+n, x+int(v)
			b = b[min(size+size%2, len(b)):]
		}
	}
	return out, nil
}

// nibble returns the index that pixel i of a run of bytes v has.
func (h *bmpHeader) nibble(v byte, i int) uint8 {
	switch {
	case h.packing == bmpRLE8:
		return v
	case i%2 == 0:
		return v >> 4
	}
	return v & 15
}
