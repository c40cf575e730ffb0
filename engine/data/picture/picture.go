// Package picture decodes the files of pictures into RGB.
package picture

import (
	"bytes"
	"errors"

	"github.com/potstill/potstill/engine/data/picture/jpeg"
)

// Image is one decoded picture: 8-bit RGB, layout HWC with three channels and
// no padding between rows, len(Pix) = H·W·3.
type Image struct {
	Pix  []uint8
	H, W int
}

type Note = jpeg.Note

type Options struct{ EXIF bool }

func Decode(b []byte, o Options) (Image, []Note, error) {
	if bytes.HasPrefix(b, []byte("\xff\xd8")) {
		p, err := jpeg.Decode(b, 100_000_000)
		return Image{p.Pix, p.H, p.W}, p.Notes, err
	}
	return Image{}, nil, errors.New("not yet")
}
