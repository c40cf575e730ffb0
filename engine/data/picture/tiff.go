package picture

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/image/tiff"
)

// Tags of TIFF.
const (
	tiffCompression = 259
	tiffPhotometric = 262
	tiffOrientation = 274
	tiffPlanar      = 284
)

func (d *decoder) tiff() (Image, error) {
	c, err := tiff.DecodeConfig(bytes.NewReader(d.file))
	if err != nil {
		return Image{}, foreign("TIFF", err)
	}
	if err := d.check("TIFF", c.Width, c.Height); err != nil {
		return Image{}, err
	}
	if planar, _ := tiffShort(d.file, tiffPlanar); planar == 2 { // the library would take it for interleaved
		return Image{}, unsupported("TIFF", "its colors are in separate planes")
	}
	m, err := tiff.Decode(bytes.NewReader(d.file))
	if err != nil {
		return Image{}, foreign("TIFF", err)
	}
	d.orientation, d.always = orientation(d.file), true
	out := d.rgb(m)
	const fax3, fax4, blackIsZero = 3, 4, 1
	compression, _ := tiffShort(d.file, tiffCompression)
	photometric, _ := tiffShort(d.file, tiffPhotometric)
	if (compression == fax3 || compression == fax4) && photometric == blackIsZero {
		invert(out.Pix) // the library has white where the fax codes have it, whatever its value means
	}
	return out, nil
}

// orientation returns the orientation in the first directory of a TIFF structure,
// which EXIF data are, or 0 if there is none.
func orientation(b []byte) int {
	if v, ok := tiffShort(b, tiffOrientation); ok && v <= 8 {
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
