package picture

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// fuzzPixels keeps pictures small, so that many can be tried.
const fuzzPixels = 1 << 18

// sound reports whether a decoded picture is whole.
func sound(m Image) bool {
	return m.H > 0 && m.W > 0 && m.H*m.W <= fuzzPixels && len(m.Pix) == m.H*m.W*3
}

// FuzzDecode checks that no bytes make the decoder panic, that what it returns is
// whole and within the limit, and that it is the same every time.
func FuzzDecode(f *testing.F) {
	for _, dir := range []string{"made", "cases/*"} {
		names, err := filepath.Glob(filepath.Join("testdata", dir, "*.*"))
		if err != nil || len(names) == 0 {
			f.Fatal(dir, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)*2/3])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, notes, err := decode(b, Options{EXIF: true}, fuzzPixels)
		if !bytes.Equal(b, before) {
			t.Error("the file was written to")
		}
		if err != nil {
			return
		}
		if !sound(m) {
			t.Errorf("%dx%d with %d bytes", m.W, m.H, len(m.Pix))
		}
		again, notes2, err := decode(b, Options{EXIF: true}, fuzzPixels)
		if err != nil || !bytes.Equal(again.Pix, m.Pix) || len(notes) != len(notes2) {
			t.Errorf("the second time it is another picture (error %v)", err)
		}
	})
}

// TestCutShort reads every file cut in many places, at every byte in its first
// ones.
func TestCutShort(t *testing.T) {
	for name := range goldens(t) {
		b := testdata(t, name)
		for n := 0; n < len(b); n++ {
			if n > 60 {
				n += 22
			}
			if n >= len(b) {
				break
			}
			if m, _, err := decode(b[:n], Options{}, fuzzPixels); err == nil && !sound(m) {
				t.Errorf("%s, the first %d bytes: %dx%d with %d bytes", name, n, m.W, m.H, len(m.Pix))
			}
		}
	}
}

// TestCutIsAnError checks that a picture of which something is missing is not
// read: of a JPEG all but the end marker, and the last bits before it, is needed,
// of a PNG the pixels' data.
func TestCutIsAnError(t *testing.T) {
	for name, spare := range map[string]int{
		"made/jpeg-420.jpg": 4, "made/jpeg-420-progressive.jpg": 4, "made/jpeg-arithmetic-progressive.jpg": 8, "made/jpeg-restart.jpg": 4,
		"made/jpeg-planes.jpg": 4, "made/png-rgb.png": 12 + 4 + 5, "made/webp-lossless.webp": 8, "made/bmp-rgb.bmp": 1,
		"made/tiff-raw.tif": 1, "made/p6.ppm": 1, "made/p4.pbm": 1, "made/gif-plain.gif": 8,
	} {
		b := testdata(t, name)
		for n := range len(b) - spare {
			if _, _, err := Decode(b[:n], Options{}); err == nil {
				t.Fatalf("%s: the first %d of %d bytes are read", name, n, len(b))
			}
		}
	}
}
