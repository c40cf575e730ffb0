package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
)

// Image is one decoded picture: 8-bit RGB, layout HWC with three channels and
// no padding between rows, len(Pix) = H·W·3.
type Image struct {
	Pix  []uint8
	H, W int
}

// Limits of what is decoded. They are checked before anything is allocated, so
// that a small hostile file cannot ask for a large amount of memory.
const (
	maxPixels   = 100_000_000 // pixels in one picture
	maxFileSize = 256 << 20   // bytes of one encoded picture
)

var (
	errTooManyPixels = errors.New("picture has more than 100 megapixels")
	errNotAPicture   = errors.New("neither JPEG nor PNG")
	errFileTooLarge  = errors.New("file is larger than 256 MiB")
)

// decodeImage decodes a JPEG or PNG, told apart by the first bytes and not by a
// name, into RGB. Grey is replicated, CMYK converted, 16-bit samples keep their
// high byte, and alpha is dropped (not composited), as PIL's convert("RGB")
// does.
func decodeImage(b []byte) (Image, error) {
	var conf func([]byte) (image.Config, error)
	var dec func([]byte) (image.Image, error)
	switch {
	case len(b) > 2 && b[0] == 0xFF && b[1] == 0xD8:
		conf = func(b []byte) (image.Config, error) { return jpeg.DecodeConfig(bytes.NewReader(b)) }
		dec = func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		conf = func(b []byte) (image.Config, error) { return png.DecodeConfig(bytes.NewReader(b)) }
		dec = func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }
	default:
		return Image{}, errNotAPicture
	}
	c, err := conf(b)
	if err != nil {
		return Image{}, err
	}
	if c.Width < 1 || c.Height < 1 {
		return Image{}, fmt.Errorf("picture of %dx%d pixels", c.Width, c.Height)
	}
	if c.Width > maxPixels/c.Height {
		return Image{}, errTooManyPixels
	}
	m, err := dec(b)
	if err != nil {
		return Image{}, err
	}
	return toRGB(m), nil
}

// DecodeImage decodes one JPEG or PNG file's bytes exactly as datasets are
// decoded, for prediction on single files.
func DecodeImage(b []byte) (Image, error) {
	if len(b) > maxFileSize {
		return Image{}, errFileTooLarge
	}
	return decodeImage(b)
}

// toRGB flattens any image that the JPEG and PNG decoders return.
func toRGB(m image.Image) Image {
	r := m.Bounds()
	out := Image{H: r.Dy(), W: r.Dx(), Pix: make([]uint8, r.Dx()*r.Dy()*3)}
	switch m := m.(type) {
	case *image.YCbCr:
		ycbcrToRGB(out, m)
	case *image.Gray:
		eachPixel(out, func(x, y int, p []uint8) {
			v := m.Pix[y*m.Stride+x]
			p[0], p[1], p[2] = v, v, v
		})
	case *image.Gray16:
		eachPixel(out, func(x, y int, p []uint8) {
			v := m.Pix[y*m.Stride+2*x]
			p[0], p[1], p[2] = v, v, v
		})
	case *image.RGBA: // opaque: PNG yields it for true colour without alpha
		copy4(out, m.Pix, m.Stride, 1)
	case *image.NRGBA:
		copy4(out, m.Pix, m.Stride, 1)
	case *image.RGBA64:
		copy4(out, m.Pix, m.Stride, 2)
	case *image.NRGBA64:
		copy4(out, m.Pix, m.Stride, 2)
	case *image.CMYK:
		eachPixel(out, func(x, y int, p []uint8) {
			q := m.Pix[y*m.Stride+4*x:]
			p[0], p[1], p[2] = color.CMYKToRGB(q[0], q[1], q[2], q[3])
		})
	default: // palettes
		eachPixel(out, func(x, y int, p []uint8) {
			c := color.NRGBAModel.Convert(m.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA)
			p[0], p[1], p[2] = c.R, c.G, c.B
		})
	}
	return out
}

func eachPixel(out Image, f func(x, y int, p []uint8)) {
	i := 0
	for y := range out.H {
		for x := range out.W {
			f(x, y, out.Pix[i:i+3:i+3])
			i += 3
		}
	}
}

// copy4 takes the first byte of each of the first three of four channels, whose
// samples have the given width in bytes, most significant first.
func copy4(out Image, pix []uint8, stride, width int) {
	eachPixel(out, func(x, y int, p []uint8) {
		q := pix[y*stride+4*width*x:]
		p[0], p[1], p[2] = q[0], q[width], q[2*width]
	})
}
