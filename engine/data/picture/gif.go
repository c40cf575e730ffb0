package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
)

// gif decodes the first picture of a GIF. It is laid on a screen of the color
// that is transparent, or else of color 0, as Pillow does. Transparent pixels get
// the color that the palette has for them.
func (d *decoder) gif() (Image, error) {
	if len(d.file) < 13 {
		return Image{}, errCut
	}
	w, h := int(binary.LittleEndian.Uint16(d.file[6:])), int(binary.LittleEndian.Uint16(d.file[8:]))
	if err := d.check("GIF", w, h); err != nil {
		return Image{}, err
	}
	file, background := opaqueGIF(d.file)
	m, err := gif.Decode(bytes.NewReader(file))
	if err != nil {
		return Image{}, foreign("GIF", err)
	}
	frame, ok := m.(*image.Paletted)
	if !ok {
		return d.rgb(m), nil
	}
	if frame.Rect == image.Rect(0, 0, w, h) {
		return d.rgb(frame), nil
	}
	screen := image.NewPaletted(image.Rect(0, 0, w, h), frame.Palette)
	for i := range screen.Pix {
		screen.Pix[i] = background
	}
	for y := frame.Rect.Min.Y; y < frame.Rect.Max.Y; y++ {
		from := frame.PixOffset(frame.Rect.Min.X, y)
		copy(screen.Pix[screen.PixOffset(frame.Rect.Min.X, y):], frame.Pix[from:from+frame.Rect.Dx()])
	}
	return d.rgb(screen), nil
}

// opaqueGIF returns a GIF whose first picture has no transparent color, and the
// color that was, or 0: the standard library forgets that color's value.
func opaqueGIF(file []byte) (opaque []byte, transparent uint8) {
	pos := 13
	if file[10]&0x80 != 0 {
		pos += 3 << (file[10]&7 + 1)
	}
	for pos+2 < len(file) && file[pos] == 0x21 { // an extension
		if file[pos+1] == 0xF9 && file[pos+2] == 4 && pos+7 <= len(file) && file[pos+3]&1 != 0 {
			file = bytes.Clone(file)
			file[pos+3] &^= 1
			transparent = file[pos+6]
		}
		for pos += 2; pos < len(file) && file[pos] != 0; {
			pos += 1 + int(file[pos])
		}
		pos++
	}
	return file, transparent
}
