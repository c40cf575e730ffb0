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

// FuzzLabels checks that no text makes the readers of label files panic, and that
// what they return is whole.
func FuzzLabels(f *testing.F) {
	f.Add("file,label\na.png,cat\n", byte(0))
	f.Add("\ufeffpath;split;class\r\n\"a\"\"b.png\";train;3.0\r\n", byte(0))
	f.Add("a.png\tcat\ttest\n", byte(1))
	f.Add(`{"image": "a.png", "label": 3, "split": "val"}`, byte(2))
	f.Fuzz(func(t *testing.T, text string, kind byte) {
		name := []string{"train.csv", "x.tsv", "y.jsonl"}[kind%3]
		l, err := parseLabels(textFile{name, []byte(text)})
		if err != nil {
			return
		}
		for _, r := range l.rows {
			if r.file == "" || r.line < 1 || r.part < partNone || r.part >= numParts {
				t.Errorf("row %+v", r)
			}
		}
		lay := &layout{spec: "x", items: []item{{file: "a.png"}, {file: "b/a.png"}, {file: "b/c.jpg"}}}
		found := &labels{of: map[int]labeled{}}
		newMatcher(lay).match(found, l)
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
	f.Add(makeZip(f, "", files))
	f.Add(overlapping(f, zipEntry{name: "train/a/1.png", content: files["training/0_0.png"]}, zipEntry{name: "train/b/1.png", content: files["validation/0_1.png"]}))
	f.Add(makeZip(f, "x/", map[string][]byte{"i/1.png": files["training/0_0.png"], "i/2.png": files["validation/0_1.png"], "l.csv": []byte("1,a\n2,b\n"), "classes.txt": []byte("a\nb\n")}))
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
