package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// paint encodes a picture that differs for every n.
func paint(t testing.TB, name string, n int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 12+n%3, 10))
	for i := range m.Pix {
		m.Pix[i] = uint8(i*7 + n*31)
	}
	for y := range 10 {
		m.SetRGBA(n%12, y, color.RGBA{uint8(n), 200, 30, 255})
	}
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 255
	}
	var b bytes.Buffer
	var err error
	if strings.HasSuffix(name, ".png") {
		err = png.Encode(&b, m)
	} else {
		err = jpeg.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// study returns the files of a dataset in the study's naming.
func study(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, part := range []struct {
		name    string
		from, n int
	}{{"training", 0, 4}, {"validation", 4, 2}, {"testing", 6, 1}} {
		for c := range 3 {
			for i := range part.n {
				name := fmt.Sprintf("%s/%d_%d.jpg", part.name, c, i)
				files[name] = paint(t, name, 10*c+part.from+i)
			}
		}
	}
	return files
}

func writeFolder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// makeTar returns an archive of the files below prefix, in descending order so
// that nothing can rely on an order.
func makeTar(t testing.TB, prefix string, files map[string][]byte, extra ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, p []byte) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	slices.Reverse(names)
	for _, n := range names {
		put(tar.Header{Name: prefix + n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg}, files[n])
	}
	for _, h := range extra {
		put(h, make([]byte, h.Size))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustOpen(t testing.TB, spec string, o Options) *Dataset {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	d, err := Open(context.Background(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// describe lists a dataset whole, so that two can be compared.
func describe(d *Dataset) string {
	var b strings.Builder
	fmt.Fprintln(&b, d.Classes, d.Fingerprint, d.Skipped)
	for _, s := range []*Split{d.Train, d.Val, d.Test} {
		if s == nil {
			continue
		}
		for i := range s.Len() {
			m := s.Image(i)
			fmt.Fprintln(&b, s.File(i), s.Label(i), m.H, m.W, m.Pix)
		}
	}
	return b.String()
}

func names(s *Split) (out []string) {
	for i := range s.Len() {
		out = append(out, fmt.Sprintf("%s=%d", s.File(i), s.Label(i)))
	}
	return out
}

func TestFolderAndTarsAreAlike(t *testing.T) {
	files := study(t)
	files["training/1_9.png"] = paint(t, ".png", 77)
	files["training/notes.txt"] = []byte("not a picture")
	files[".git/0_0.jpg"] = []byte("hidden")
	cache := t.TempDir()
	d := mustOpen(t, writeFolder(t, files), Options{CacheDir: cache})
	if got := names(d.Train); len(got) != 13 || got[0] != "training/0_0.jpg=0" || got[12] != "training/2_3.jpg=2" {
		t.Errorf("training: %v", got)
	}
	if d.Val.Len() != 6 || d.Test.Len() != 3 || !slices.Equal(d.Classes, []string{"0", "1", "2"}) {
		t.Errorf("%d validation, %d test, classes %v", d.Val.Len(), d.Test.Len(), d.Classes)
	}
	want, err := decodeImage(files["training/1_9.png"])
	if i := slices.Index(names(d.Train), "training/1_9.png=1"); err != nil || !bytes.Equal(d.Train.Image(i).Pix, want.Pix) {
		t.Errorf("pixels differ (%v)", err)
	}
	plain := makeTar(t, "set-1.0/", files,
		tar.Header{Name: "../training/0_7.jpg", Size: 3, Mode: 0o644, Typeflag: tar.TypeReg},
		tar.Header{Name: "/training/0_8.jpg", Size: 3, Mode: 0o644, Typeflag: tar.TypeReg},
		tar.Header{Name: "set-1.0/training/0_9.jpg", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink})
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(plain)
	zw.Close()
	for name, b := range map[string][]byte{"a.tar": plain, "a.tar.gz": z.Bytes()} {
		for _, dir := range []string{cache, t.TempDir()} {
			e := mustOpen(t, writeFile(t, name, b), Options{CacheDir: dir})
			if describe(e) != describe(d) {
				t.Errorf("%s differs from the folder", name)
			}
			if e.Name != "a" {
				t.Errorf("name %q", e.Name)
			}
		}
	}
}

func TestClassFolders(t *testing.T) {
	files := map[string][]byte{}
	for _, c := range []string{"tulip", "rose", "rose-2"} {
		for i := range 10 {
			files[fmt.Sprintf("%s/deep/%d.jpg", c, i)] = paint(t, ".jpg", i+len(c))
		}
	}
	d := mustOpen(t, writeFolder(t, files), Options{})
	if !slices.Equal(d.Classes, []string{"rose", "rose-2", "tulip"}) || d.Train.Len() != 24 || d.Val.Len() != 6 || d.Test != nil {
		t.Errorf("classes %v, %d + %d", d.Classes, d.Train.Len(), d.Val.Len())
	}
	again := mustOpen(t, writeFile(t, "x.tar", makeTar(t, "", files)), Options{ValFraction: 0.2})
	if !slices.Equal(names(d.Val), names(again.Val)) {
		t.Error("the held-out part differs")
	}
	half := mustOpen(t, writeFolder(t, files), Options{ValFraction: 0.5})
	if half.Val.Len() != 15 || half.Fingerprint == d.Fingerprint {
		t.Error("the fraction has no effect")
	}
	parts := map[string][]byte{}
	for n, b := range files {
		parts["train/"+n] = b
	}
	parts["valid/tulip/1.png"] = paint(t, ".png", 3)
	parts["test/rose/1.png"] = paint(t, ".png", 4)
	d = mustOpen(t, writeFolder(t, parts), Options{})
	if d.Train.Len() != 30 || !slices.Equal(names(d.Val), []string{"valid/tulip/1.png=2"}) || !slices.Equal(names(d.Test), []string{"test/rose/1.png=0"}) {
		t.Errorf("%d, %v, %v", d.Train.Len(), names(d.Val), names(d.Test))
	}
}

func TestUnlabeledTestPart(t *testing.T) {
	files := study(t)
	for n := range files {
		if strings.HasPrefix(n, "testing/") {
			delete(files, n)
		}
	}
	files["testing/0000.jpg"] = paint(t, ".jpg", 1)
	if d := mustOpen(t, writeFolder(t, files), Options{}); d.Test != nil || d.Train.Len() != 12 {
		t.Error("the unlabeled test part is in")
	}
}

func TestOpenErrors(t *testing.T) {
	with := func(change func(map[string][]byte)) string {
		f := study(t)
		change(f)
		return writeFolder(t, f)
	}
	whole := makeTar(t, "", study(t))
	marker := (len(bytes.TrimRight(whole, "\x00")) + 511) &^ 511 // where the last entry ends
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(whole)
	zw.Close()
	cases := map[string]struct{ spec, want string }{
		"missing":      {"/nonexistent/food-11", "no such folder or file"},
		"empty string": {"", "no such folder or file"},
		"builtin":      {"builtin:mnist", "there is builtin:fashion"},
		"empty":        {t.TempDir(), "no pictures in it"},
		"gap": {with(func(f map[string][]byte) {
			f["training/5_0.jpg"] = paint(t, ".jpg", 1)
		}), `class "3" has no images`},
		"untrained": {with(func(f map[string][]byte) {
			f["validation/3_0.jpg"] = paint(t, ".jpg", 1)
		}), `class "3" has images for validation or testing but none for training`},
		"unparsable": {with(func(f map[string][]byte) {
			f["training/cat.jpg"] = paint(t, ".jpg", 1)
		}), `no class in the name "training/cat.jpg"`},
		"mixed": {with(func(f map[string][]byte) {
			f["training/cat/1.jpg"] = paint(t, ".jpg", 1)
		}), "some pictures lie in class folders"},
		"mixed test part": {with(func(f map[string][]byte) {
			f["testing/cat/1.jpg"] = paint(t, ".jpg", 1)
		}), "some pictures lie in class folders"},
		"two names": {with(func(f map[string][]byte) {
			f["train/0_1.jpg"] = paint(t, ".jpg", 1)
		}), "which one is meant"},
		"no training": {writeFolder(t, map[string][]byte{
			"validation/0_1.jpg": paint(t, ".jpg", 1)}), "no pictures in a training folder"},
		"empty class": {writeFolder(t, map[string][]byte{
			"train/a/1.jpg": paint(t, ".jpg", 1), "train/b/": nil}), `class "b" has no images: fill its folder`},
		"class of broken pictures": {with(func(f map[string][]byte) {
			f["training/3_0.jpg"] = []byte("no picture")
		}), `class "3" has no training images that can be decoded`},
		"cut in an entry":   {writeFile(t, "a.tar", whole[:len(whole)/2+100]), "cut short"},
		"cut after entries": {writeFile(t, "a.tar", whole[:marker]), "cut short"},
		"cut gzip":          {writeFile(t, "a.tar.gz", z.Bytes()[:z.Len()-4]), "cut short"},
		"no tar":            {writeFile(t, "a.tar", bytes.Repeat([]byte("abc "), 1000)), "is not a tar"},
		"empty tar":         {writeFile(t, "a.tar", nil), "cut short"},
	}
	for name, c := range cases {
		cache := t.TempDir()
		d, err := Open(context.Background(), c.spec, Options{CacheDir: cache})
		if err == nil {
			d.Close()
			t.Errorf("%s: opened", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, want %q", name, err, c.want)
		}
		noTemps(t, cache)
	}
	for _, o := range []Options{{Size: -1}, {ValFraction: 1}} {
		if _, err := Open(context.Background(), "builtin:fashion", o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func noTemps(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".tmp") {
			t.Errorf("%s is left behind", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTruncatedPicture(t *testing.T) {
	files := study(t)
	files["training/1_2.jpg"] = files["training/1_2.jpg"][:300]
	dir, cache := writeFolder(t, files), t.TempDir()
	for range 2 { // decoded, then from the cache
		var log bytes.Buffer
		d := mustOpen(t, dir, Options{CacheDir: cache, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if len(d.Skipped) != 1 || d.Skipped[0].File != "training/1_2.jpg" || d.Skipped[0].Err == nil || d.Train.Len() != 11 {
			t.Errorf("skipped %v, %d left", d.Skipped, d.Train.Len())
		}
		if strings.Count(log.String(), "training/1_2.jpg") != 1 {
			t.Errorf("log: %s", log.String())
		}
		_, err := Open(context.Background(), dir, Options{CacheDir: cache, Strict: true})
		if err == nil || !strings.Contains(err.Error(), "training/1_2.jpg") {
			t.Errorf("strict: %v", err)
		}
	}
	_, err := Open(context.Background(), dir, Options{CacheDir: t.TempDir(), Strict: true})
	if err == nil || !strings.Contains(err.Error(), "training/1_2.jpg") || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("strict: %v", err)
	}
}

func TestStoredSize(t *testing.T) {
	d := mustOpen(t, writeFolder(t, study(t)), Options{Size: 5})
	for i := range d.Train.Len() {
		if m := d.Train.Image(i); min(m.H, m.W) != 5 || len(m.Pix) != m.H*m.W*3 {
			t.Errorf("%dx%d", m.H, m.W)
		}
	}
}

func TestHugePictureIsRefused(t *testing.T) {
	b := paint(t, ".png", 1)
	if _, err := decodeImage(b); err != nil {
		t.Error(err)
	}
	// IHDR: width and height at 16 and 20, the chunk's CRC over 12…28 at 29.
	binary.BigEndian.PutUint32(b[16:], 20_000)
	binary.BigEndian.PutUint32(b[20:], 6_000)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	if _, err := decodeImage(b); !errors.Is(err, errTooManyPixels) {
		t.Errorf("got %v", err)
	}
}

func TestFashion(t *testing.T) {
	d := fashionSet(t)
	n := make([]int, 10)
	for i := range d.Train.Len() {
		n[d.Train.Label(i)]++
	}
	if d.Train.Len() != 6000 || d.Val.Len() != 1000 || slices.Min(n) != 600 || d.Classes[0] != "T-shirt/top" {
		t.Errorf("%d + %d, classes %v %v", d.Train.Len(), d.Val.Len(), n, d.Classes)
	}
	if d.Test == nil || d.Test.Len() != 1000 {
		t.Fatal("the test part has not 1,000 pictures")
	}
	seen := make(map[string]string)
	clear(n)
	for i := range d.Test.Len() {
		n[d.Test.Label(i)]++
		seen[string(d.Test.Image(i).Pix)] = d.Test.File(i)
	}
	if slices.Min(n) != 100 {
		t.Errorf("the test part's classes have %v pictures", n)
	}
	for _, s := range []*Split{d.Train, d.Val} {
		for i := range s.Len() {
			if f, ok := seen[string(s.Image(i).Pix)]; ok {
				t.Errorf("%s is %s", f, s.File(i))
			}
		}
	}
	if !strings.Contains(FashionLicense, "2017 Zalando SE") || len(fashionGz) > 4<<20 {
		t.Error("the license is missing, or the file too large")
	}
	if m := d.Train.Image(0); m.H != 28 || m.W != 28 || len(m.Pix) != 28*28*3 {
		t.Errorf("%dx%d", m.H, m.W)
	}
}
