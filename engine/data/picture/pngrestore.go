package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// restoredPNG writes the PNG that a damaged one should have been, as it is read:
// the header, the palette if the pixels need one, and their data, inflated and
// stored without compression, exactly as many as there should be.
type restoredPNG struct {
	buf     bytes.Buffer // what was made and not yet read
	data    io.Reader    // inflated
	left    int          // bytes of it still to come
	sum     hash.Hash32
	first   bool
	trusted bool  // the checksums of all the data's chunks are right
	more    bool  // data are left over
	wrong   bool  // the checksum of the inflated data is wrong or missing
	err     error // why it ended early
}

// restorePNG finds out what of a PNG can be used.
func (d *decoder) restorePNG(h pngHeader, chunks []chunk) (*restoredPNG, error) {
	r := &restoredPNG{left: h.dataSize(), sum: adler32.New(), first: true, trusted: true}
	if r.left < 0 {
		return nil, damaged("PNG", "its header has an impossible color type or depth")
	}
	r.buf.WriteString(pngMagic)
	r.chunk("IHDR", chunks[0].data)
	var parts []io.Reader
	palette := false
	for _, c := range chunks {
		switch {
		case c.kind == "IDAT":
			parts = append(parts, bytes.NewReader(c.data))
			r.trusted = r.trusted && c.sound
		case c.kind == "PLTE" && h.color == pngPalette && !palette && parts == nil:
			if !c.sound || len(c.data) < 3 || len(c.data)%3 != 0 {
				return nil, damaged("PNG", "its palette is broken")
			}
			r.chunk("PLTE", c.data[:min(len(c.data), 3<<h.depth)])
			palette = true
		}
	}
	switch {
	case parts == nil:
		return nil, errCut
	case h.color == pngPalette && !palette:
		return nil, damaged("PNG", "it lacks its palette")
	}
	z, err := zlib.NewReader(io.MultiReader(parts...))
	if err != nil {
		return nil, foreign("PNG", err)
	}
	r.data = z
	return r, nil
}

// dataSize returns how many bytes the inflated data should have: each row of
// each pass begins with a byte for its filter. It is -1 for color types that do
// not exist.
func (h pngHeader) dataSize() int {
	channels, ok := map[int]int{pngGray: 1, pngRGB: 3, pngPalette: 1, pngGrayA: 2, pngRGBA: 4}[h.color]
	if !ok || h.depth < 1 || h.depth > 16 || h.color == pngPalette && h.depth > 8 {
		return -1
	}
	size := func(w, ht int) int {
		if w == 0 || ht == 0 {
			return 0
		}
		return ht * (1 + (w*channels*h.depth+7)/8)
	}
	if !h.interlaced {
		return size(h.w, h.h)
	}
	n := 0
	for _, p := range [7][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		n += size((h.w-p[0]+p[2]-1)/p[2], (h.h-p[1]+p[3]-1)/p[3])
	}
	return n
}

// chunk writes a chunk.
func (r *restoredPNG) chunk(kind string, data []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	r.buf.Write(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:])))
}

// Read reads the restored file.
func (r *restoredPNG) Read(p []byte) (int, error) {
	for r.buf.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.left == 0 && !r.first {
			return 0, io.EOF
		}
		r.block()
	}
	return r.buf.Read(p)
}

// block makes the next chunk of data, of one stored block (RFC 1951, 3.2.4), and
// after the last the end.
func (r *restoredPNG) block() {
	var b []byte
	if r.first {
		b = append(b, 0x78, 0x01)
	}
	r.first = false
	n := min(r.left, 1<<15)
	data := make([]byte, n)
	if _, err := io.ReadFull(r.data, data); err != nil {
		r.err = foreign("PNG", err)
		return
	}
	r.left -= n
	last := byte(0)
	if r.left == 0 {
		last = 1
	}
	b = append(b, last, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
	b = append(b, data...)
	r.sum.Write(data)
	if last == 1 {
		b = r.sum.Sum(b)
		r.finish()
	}
	r.chunk("IDAT", b)
	if last == 1 {
		r.chunk("IEND", nil)
	}
}

// finish looks at what follows the data. If a chunk's checksum is wrong, the
// checksum of the whole must be right.
func (r *restoredPNG) finish() {
	var one [1]byte
	n, err := io.ReadFull(r.data, one[:])
	r.more = n > 0
	if n > 0 {
		_, err = io.CopyN(io.Discard, r.data, 1<<20)
	}
	r.wrong = err != io.EOF
	if r.wrong && !r.trusted {
		r.err = damaged("PNG", "the checksums of its pixels are wrong")
	}
}

// notePNG says what was repaired.
func (d *decoder) notePNG(chunks []chunk, r *restoredPNG) {
	ended := false
	other, after := false, false
	for _, c := range chunks {
		switch c.kind {
		case "IEND":
			ended = c.sound && len(c.data) == 0
		case "IDAT", "IHDR", "PLTE":
		default:
			other = other || !c.sound
		}
		after = after || c.kind == "IDAT" && !c.sound
	}
	switch {
	case r.more:
		d.note("the PNG has more data than pixels; the rest was ignored", "")
	case r.wrong:
		d.note("the checksum of the PNG's data is wrong or missing, but those of its chunks are right", "")
	}
	if after {
		d.note("the checksum of a PNG's chunk of pixels is wrong, but that of all pixels is right", "")
	}
	if other {
		d.note("a chunk of the PNG that has no pixels is damaged and was ignored", "")
	}
	if !ended {
		d.note("the PNG has no proper end", "")
	}
	if len(d.notes) == 0 {
		d.note("the PNG has a palette that does not fit, or chunks that are out of order; they were ignored", "")
	}
}
