package picture

import (
	"bytes"
	"slices"
)

// format is a way of decoding, and how its files begin.
type format struct {
	is     func([]byte) bool
	decode func(*decoder) (Image, error)
}

var formats = []format{
	{begins("\xff\xd8"), (*decoder).jpeg},
	{begins(pngMagic), (*decoder).png},
	{begins("GIF87a", "GIF89a"), (*decoder).gif},
	{isWebP, (*decoder).webp},
	{begins("BM"), (*decoder).bmp},
	{begins("II*\x00", "MM\x00*"), (*decoder).tiff},
	{isNetpbm, (*decoder).netpbm},
}

// others are formats that are not read, so that the error can name them.
var others = []struct {
	name string
	is   func([]byte) bool
}{
	{"AVIF", brand("avif", "avis")},
	{"HEIC", brand("heic", "heix", "hevc", "mif1", "msf1")},
	{"JPEG XL", begins("\xff\x0a", "\x00\x00\x00\x0cJXL ")},
	{"JPEG 2000", begins("\xff\x4f\xff\x51", "\x00\x00\x00\x0cjP  ")},
	{"a BigTIFF", begins("II+\x00", "MM\x00+")},
	{"a Photoshop file", begins("8BPS")},
	{"a PDF", begins("%PDF")},
}

func begins(magic ...string) func([]byte) bool {
	return func(b []byte) bool {
		return slices.ContainsFunc(magic, func(m string) bool { return bytes.HasPrefix(b, []byte(m)) })
	}
}

// brand tells files of ISO's media format by their main brand.
func brand(names ...string) func([]byte) bool {
	return func(b []byte) bool {
		return len(b) >= 12 && string(b[4:8]) == "ftyp" && slices.Contains(names, string(b[8:12]))
	}
}
