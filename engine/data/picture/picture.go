package picture

import (
	"errors"
	"fmt"
	"image/png"
	"io"

	"golang.org/x/image/tiff"

	"github.com/potstill/potstill/engine/data/picture/jpeg"
)

// Image is one decoded picture: 8-bit RGB, layout HWC with three channels and
// no padding between rows, len(Pix) = H·W·3.
type Image struct {
	Pix  []uint8
	H, W int
}

// Options say how a file is decoded. The zero value is torchvision's way.
type Options struct {
	// EXIF turns and mirrors the picture as its EXIF orientation says.
	EXIF bool
}

// Note is something that a user may want to know of a file that was read.
type Note struct {
	Text   string // the same for all files of which it is true, so that they can be counted
	Detail string // figures, or ""
	Damage bool   // pixels are not, or may not be, those that were stored
}

// String is the text, with the figures if there are any.
func (n Note) String() string {
	if n.Detail == "" {
		return n.Text
	}
	return n.Text + " (" + n.Detail + ")"
}

// Limits of what is decoded. They are checked before anything is allocated, so
// that a small hostile file cannot ask for a large amount of memory.
const (
	MaxPixels   = 100_000_000 // pixels in one picture
	MaxFileSize = 256 << 20   // bytes of one encoded picture
)

// Errors of [Decode] that can be tested for with errors.Is.
var (
	ErrNotAPicture   = errors.New("not a picture of a known format; want JPEG, PNG, WebP, BMP, TIFF, GIF, PPM, PGM or PBM")
	ErrTooManyPixels = errors.New("the picture has more than 100 megapixels; make it smaller")
	ErrFileTooLarge  = errors.New("the file is larger than 256 MiB; make the picture smaller")
)

// errEmpty is the error of a file of no bytes.
var errEmpty = errors.New("the file is empty; fetch it again or leave it out")

// errCut is the error of a file that ends too early.
var errCut = fmt.Errorf("the file is cut short (%w); fetch it again or leave it out", io.ErrUnexpectedEOF)

// damaged makes the error of a file that is broken.
func damaged(format, problem string) error {
	return fmt.Errorf("the %s is damaged: %s; fetch it again or leave it out", format, problem)
}

// unsupported makes the error of a file that is not read.
func unsupported(format, problem string) error {
	return fmt.Errorf("this kind of %s is not read (%s); convert it to an 8-bit PNG", format, problem)
}

// foreign makes the error of another package's decoder a line that says what to
// do.
func foreign(format string, err error) error {
	var ofPNG png.UnsupportedError
	var ofTIFF tiff.UnsupportedError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errCut
	case errors.As(err, &ofPNG), errors.As(err, &ofTIFF):
		return unsupported(format, err.Error())
	}
	return damaged(format, err.Error())
}

// Decode decodes a file. Notes are given for files that were read, each text at
// most once.
func Decode(b []byte, o Options) (Image, []Note, error) { return decode(b, o, MaxPixels) }

func decode(b []byte, o Options, maxPixels int) (Image, []Note, error) {
	switch {
	case len(b) == 0:
		return Image{}, nil, errEmpty
	case len(b) > MaxFileSize:
		return Image{}, nil, ErrFileTooLarge
	}
	for _, f := range formats {
		if !f.is(b) {
			continue
		}
		d := &decoder{file: b, maxPixels: maxPixels}
		m, err := f.decode(d)
		if err != nil {
			return Image{}, nil, err
		}
		if o.EXIF || d.always {
			m = orient(m, d.orientation)
		}
		return m, d.notes, nil
	}
	for _, f := range others {
		if f.is(b) {
			return Image{}, nil, fmt.Errorf("%s is not read; convert it to JPEG or PNG", f.name)
		}
	}
	return Image{}, nil, ErrNotAPicture
}

// decoder is the state of decoding one file.
type decoder struct {
	file        []byte
	maxPixels   int
	orientation int  // as EXIF numbers them; 0 and 1: upright
	always      bool // the orientation counts without asking
	notes       []Note
}

func (d *decoder) note(text, detail string) {
	d.notes = append(d.notes, Note{Text: text, Detail: detail})
}

// check holds a picture's size against the limit.
func (d *decoder) check(format string, w, h int) error {
	if w < 1 || h < 1 {
		return damaged(format, "it has no pixels")
	}
	if w > d.maxPixels/h {
		return ErrTooManyPixels
	}
	return nil
}

func (d *decoder) jpeg() (Image, error) {
	p, err := jpeg.Decode(d.file, d.maxPixels)
	if errors.Is(err, jpeg.ErrTooManyPixels) {
		err = ErrTooManyPixels
	}
	if err != nil {
		return Image{}, err
	}
	for _, n := range p.Notes {
		d.notes = append(d.notes, Note(n))
	}
	d.orientation = orientation(p.EXIF)
	return Image{Pix: p.Pix, H: p.H, W: p.W}, nil
}
