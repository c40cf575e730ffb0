package picture

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// chunk is a chunk of a PNG. sound tells that all of it is there and its
// checksum is right.
type chunk struct {
	kind  string
	data  []byte
	sound bool
}

// pngChunks returns the chunks of a PNG up to its end, or up to where nothing
// makes sense any more. A chunk that is cut short has what there is.
func pngChunks(file []byte) (chunks []chunk) {
	for b := file[len(pngMagic):]; len(b) >= 8; {
		n := int64(binary.BigEndian.Uint32(b))
		c := chunk{kind: string(b[4:8])}
		if n > int64(len(b)-8) {
			c.data = b[8:]
			return append(chunks, c)
		}
		c.data = b[8 : 8+n]
		if rest := b[8+n:]; len(rest) >= 4 {
			c.sound = crc32.ChecksumIEEE(b[4:8+n]) == binary.BigEndian.Uint32(rest)
			b = rest[4:]
		} else {
			b = nil
		}
		chunks = append(chunks, c)
		if c.kind == "IEND" {
			break
		}
	}
	return chunks
}

// pngHeader is what is needed of a PNG's header.
type pngHeader struct {
	w, h, depth, color int
	interlaced         bool
}

// Color types of PNG.
const (
	pngGray    = 0
	pngRGB     = 2
	pngPalette = 3
	pngGrayA   = 4
	pngRGBA    = 6
)

func (d *decoder) pngHeader() (h pngHeader, err error) {
	b := d.file[len(pngMagic):]
	if len(b) < 8+13+4 {
		return h, errCut
	}
	if binary.BigEndian.Uint32(b) != 13 || string(b[4:8]) != "IHDR" {
		return h, damaged("PNG", "it does not begin with its header")
	}
	if crc32.ChecksumIEEE(b[4:21]) != binary.BigEndian.Uint32(b[21:]) {
		return h, damaged("PNG", "the checksum of its header is wrong")
	}
	w, ht := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	if w>>31 != 0 || ht>>31 != 0 {
		return h, damaged("PNG", "it has an impossible size")
	}
	h = pngHeader{w: int(w), h: int(ht), depth: int(b[16]), color: int(b[17]), interlaced: b[20] != 0}
	return h, d.check("PNG", h.w, h.h)
}

// png decodes a PNG by the standard library, and where that fails, what can be
// repaired of it.
func (d *decoder) png() (Image, error) {
	h, err := d.pngHeader()
	if err != nil {
		return Image{}, err
	}
	m, err := png.Decode(bytes.NewReader(d.file))
	chunks := pngChunks(d.file)
	if err != nil {
		r, broken := d.restorePNG(h, chunks)
		if broken != nil {
			return Image{}, broken
		}
		again, err2 := png.Decode(r)
		switch {
		case r.err != nil:
			return Image{}, r.err
		case err2 != nil:
			return Image{}, foreign("PNG", err) // the restored file says less
		}
		m = again
		d.notePNG(chunks, r)
	}
	for _, c := range chunks {
		if c.kind == "eXIf" && c.sound {
			d.orientation = orientation(c.data)
		}
	}
	out := d.rgb(m)
	if a, ok := m.(*image.NRGBA64); ok && h.color == pngGray { // with a transparent value
		d.noteGray16(largest16(a.Pix, a.Stride, out, 8), 65535)
	}
	return out, nil
}
