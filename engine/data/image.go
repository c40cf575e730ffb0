package data

import "github.com/potstill/potstill/engine/data/picture"

// Image is one decoded picture: 8-bit RGB, layout HWC with three channels and
// no padding between rows, len(Pix) = H·W·3.
type Image = picture.Image

// Limits of what is decoded, and the errors beyond them.
const (
	maxPixels   = picture.MaxPixels   // pixels in one picture
	maxFileSize = picture.MaxFileSize // bytes of one encoded picture
)

var (
	errTooManyPixels = picture.ErrTooManyPixels
	errFileTooLarge  = picture.ErrFileTooLarge
)

// decodeImage decodes the file of a picture in torchvision's way. Notes on the
// file, and other ways, are had of [picture.Decode].
func decodeImage(b []byte) (Image, error) {
	m, _, err := picture.Decode(b, picture.Options{})
	return m, err
}

// DecodeImage decodes one file's bytes exactly as datasets are decoded, for
// prediction on single files.
func DecodeImage(b []byte) (Image, error) { return decodeImage(b) }
