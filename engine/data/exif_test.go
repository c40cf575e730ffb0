package data

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"
)

// turnedJPEG is a picture of w×h, dark on the left, whose EXIF data say that it
// is to be turned by a quarter to the right.
func turnedJPEG(t *testing.T, w, h int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetGray(x, y, color.Gray{uint8(255 * x / w)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	exif := append([]byte("Exif\x00\x00"), "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"...)
	segment := append([]byte{0xFF, 0xE1, 0, byte(len(exif) + 2)}, exif...)
	return append(append(b.Bytes()[:2:2], segment...), b.Bytes()[2:]...)
}

// TestEXIF: pictures are turned when that is asked for, whether their pixels or
// their files are kept, and each way has a cache of its own.
func TestEXIF(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	for _, class := range []string{"a", "b"} {
		for i := range 3 {
			w, h := 24+i, 12
			if i == 2 {
				w, h = 1500, 1000 // beyond maxKept
			}
			path := filepath.Join(dir, class, fmt.Sprintf("%d.jpg", i))
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(turnedJPEG(t, w, h), class...), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	prints := map[bool]string{}
	for range 2 { // the second time from the cache
		for _, exif := range []bool{false, true} {
			d, err := Open(context.Background(), dir, Options{CacheDir: cache, EXIF: exif})
			if err != nil {
				t.Fatal(err)
			}
			if prints[exif] == "" {
				prints[exif] = d.Fingerprint
			}
			if d.Fingerprint != prints[exif] {
				t.Error("the fingerprint differs from one opening to the next")
			}
			all, files := d.All(), 0
			for i := range all.Len() {
				m := all.Image(i)
				h, w := all.Bounds(i)
				first, last := m.Pix[0], m.Pix[len(m.Pix)-1]
				corner := m.Pix[3*(m.W-1)]
				if m.H != h || m.W != w || (h > w) != exif || first > 30 || last < 225 || (corner < 30) != exif {
					t.Errorf("exif %t: %s is %d×%d, bounds %d×%d, corners %d %d %d", exif, all.File(i), m.H, m.W, h, w, first, corner, last)
				}
				if d.st.idx.Items[all.at[i]].Z > 0 {
					files++
				}
			}
			if files != 2 {
				t.Errorf("%d pictures are kept as files, want 2", files)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if prints[true] == prints[false] {
		t.Error("turned and unturned pictures have one fingerprint")
	}
}
