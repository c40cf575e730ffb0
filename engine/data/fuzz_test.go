package data

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode checks that no bytes make the decoder panic, and that what it
// returns is whole.
func FuzzDecode(f *testing.F) {
	for _, ext := range []string{".jpg", ".png"} {
		b := paint(f, ext, 5)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte("\xff\xd8\xff"))
	for _, g := range goldens(f).Files {
		if g.Name == "jpeg-tiny" || g.Name == "jpeg-1x1" {
			f.Add(g.File)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeImage(b)
		if err == nil && (m.H < 1 || m.W < 1 || len(m.Pix) != m.H*m.W*3) {
			t.Errorf("%dx%d with %d bytes", m.H, m.W, len(m.Pix))
		}
	})
}

// FuzzTar checks that no archive makes Open panic or leave files behind.
func FuzzTar(f *testing.F) {
	files := map[string][]byte{"training/0_0.png": paint(f, ".png", 1), "validation/0_1.png": paint(f, ".png", 2)}
	whole := makeTar(f, "", files)
	f.Add(whole)
	f.Add(whole[:700])
	f.Add(makeTar(f, "a/", files, tar.Header{Name: "../../x_1.png", Size: 4, Typeflag: tar.TypeReg},
		tar.Header{Name: "a/training/l", Linkname: "/", Typeflag: tar.TypeSymlink}))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := Open(context.Background(), name, Options{CacheDir: dir, ValFraction: 0.5})
		if err != nil {
			return
		}
		for i := range d.Train.Len() {
			if m := d.Train.Image(i); !bytes.Equal(m.Pix, d.Train.Image(i).Pix) || d.Train.Label(i) >= len(d.Classes) {
				t.Error("unsound image")
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		noTemps(t, dir)
	})
}
