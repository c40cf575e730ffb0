package data

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// logged opens a dataset and returns what was logged, a line each.
func logged(t *testing.T, spec string, o Options) (d *Dataset, lines []string) {
	t.Helper()
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	d = mustOpen(t, spec, o)
	for line := range strings.Lines(log.String()) {
		lines = append(lines, strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(line, `\"`, `"`), spec, "DATA")))
	}
	return d, lines
}

// sixty is a dataset with sixty pictures that cannot be decoded, and more.
func sixty(t *testing.T) map[string][]byte {
	files := study(t)
	for i := range 60 {
		files[fmt.Sprintf("training/0_%03d.jpg", i+100)] = []byte("broken")
	}
	files["training/1_900.png"] = nil
	files["training/IMG_1.HEIC"], files["training/IMG_2.heic"] = []byte("x"), []byte("x")
	files["notes.txt"], files["training/Thumbs.db"], files["validation/.DS_Store"] = []byte("x"), []byte("x"), []byte("x")
	files["extra/0_1.jpg"] = paint(t, ".jpg", 3)
	return files
}

// TestOneLineForAll: whatever is left out, and however much, is told in one line,
// from the folder, from an archive, and again from the cache.
func TestOneLineForAll(t *testing.T) {
	files := sixty(t)
	_, bad := decodeImage([]byte("broken"))
	want := fmt.Sprintf(`level=WARN msg="DATA: left out 67 files: 60 that cannot be decoded (the first is training/0_100.jpg: %v), 1 empty (training/1_900.png), `+
		`1 outside of training, validation and testing (extra/0_1.jpg), 2 in formats that are not read (.heic 2), 1 of other kinds (.txt 1), 2 hidden"`, bad)
	for _, spec := range []string{writeFolder(t, files), writeFile(t, "a.tar", makeTar(t, "", files)), writeFile(t, "a.zip", makeZip(t, "", files))} {
		age(t, spec)
		cache := t.TempDir()
		for range 2 {
			d, lines := logged(t, spec, Options{CacheDir: cache})
			if !slices.Equal(lines, []string{want}) {
				t.Errorf("logged\n%s\nwant one line\n%s", strings.Join(lines, "\n"), want)
			}
			if len(d.Skipped) != 61 || d.Train.Len() != 12 {
				t.Errorf("%d skipped, %d left", len(d.Skipped), d.Train.Len())
			}
		}
		if n := len(cacheFiles(t, cache, ".stamp")); n != 1 {
			t.Errorf("%d stamps", n)
		}
	}
}

// TestHarmlessIsNoWarning: what no picture is lost by.
func TestHarmlessIsNoWarning(t *testing.T) {
	files := study(t)
	files["README"], files[".git/config"], files["desktop.ini"] = []byte("x"), []byte("x"), []byte("x")
	_, lines := logged(t, writeFolder(t, files), Options{})
	if want := `level=INFO msg="DATA: left out 3 files: 1 of other kinds (without extension 1), 2 hidden"`; !slices.Equal(lines, []string{want}) {
		t.Errorf("logged %q, want %q", lines, want)
	}
	if _, lines := logged(t, writeFolder(t, study(t)), Options{}); len(lines) != 0 {
		t.Errorf("logged %q where nothing is left out", lines)
	}
}

// TestStampKnowsHiddenFiles: what comes into a folder later is counted without
// the pictures' being read again.
func TestStampKnowsHiddenFiles(t *testing.T) {
	dir, o := writeFolder(t, study(t)), Options{CacheDir: t.TempDir()}
	age(t, dir)
	mustOpen(t, dir, o)
	if err := os.WriteFile(filepath.Join(dir, "new.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	reads := 0
	o.Progress = func(int, int) { reads++ }
	if d := mustOpen(t, dir, o); reads != 1 || Summarize(d.LeftOut) != "left out 1 file: of other kinds (.txt 1)" {
		t.Errorf("%d calls; %s", reads, Summarize(d.LeftOut))
	}
}

// TestEveryExtension: the names of all formats that are read, as in the case
// other-extensions-dropped; the content decides what they are.
func TestEveryExtension(t *testing.T) {
	files := map[string][]byte{}
	for _, part := range []string{"train", "val"} {
		for c := range 2 {
			for i, ext := range []string{"jpg", "jpeg", "jpe", "jfif", "png", "webp", "BMP", "tif", "tiff", "gif", "ppm", "pgm", "pbm", "pnm"} {
				files[fmt.Sprintf("%s/%c/%d.%s", part, 'a'+c, i, ext)] = paint(t, ".png", 20*c+i+len(part))
			}
		}
	}
	d, lines := logged(t, writeFolder(t, files), Options{})
	if d.Train.Len() != 28 || d.Val.Len() != 28 || len(lines) > 1 { // one for pictures that are in both
		t.Errorf("%d + %d pictures; %q", d.Train.Len(), d.Val.Len(), lines)
	}
}

// TestSameInTrainingAndValidation: the same bytes under two names.
func TestSameInTrainingAndValidation(t *testing.T) {
	files := study(t)
	files["validation/2_7.jpg"], files["validation/2_8.jpg"] = files["training/0_1.jpg"], files["training/0_2.jpg"]
	files["testing/2_9.jpg"] = files["training/2_0.jpg"]
	want := `level=WARN msg="DATA: 2 of the validation pictures and 1 of the test pictures are in training too, ` +
		`which makes accuracies look better than they are (the first is validation/2_7.jpg, the same as training/0_1.jpg)"`
	dir, cache := writeFolder(t, files), t.TempDir()
	age(t, dir)
	for range 2 {
		if _, lines := logged(t, dir, Options{CacheDir: cache}); !slices.Equal(lines, []string{want}) {
			t.Errorf("logged %q, want %q", lines, want)
		}
	}
}

// TestFolderRule: hidden files, links and cycles, for datasets and for Pictures.
func TestFolderRule(t *testing.T) {
	real := writeFolder(t, map[string][]byte{"x.png": paint(t, ".png", 5), "y.png": paint(t, ".png", 6)})
	dir := writeFolder(t, map[string][]byte{
		"a/1.png": paint(t, ".png", 1), "a/2.png": paint(t, ".png", 2), "a/.ipynb_checkpoints/1.png": paint(t, ".png", 1), "a/._1.png": {0, 5, 22, 7},
		"__MACOSX/a/1.png": []byte("x"), "b/deep/3.png": paint(t, ".png", 3),
	})
	for link, to := range map[string]string{"b/link": real, "a/up": "..", "a/self": "self", "b/none.png": "nowhere", "a/same.png": "1.png"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skipf("symbolic links: %v", err)
		}
	}
	want := []string{"a/1.png", "a/2.png", "a/same.png", "b/deep/3.png", "b/link/x.png", "b/link/y.png"}
	paths, left, err := Pictures(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = filepath.ToSlash(rel)
	}
	if !slices.Equal(paths, want) {
		t.Errorf("pictures %q, want %q", paths, want)
	}
	d := mustOpen(t, dir, Options{Evaluate: true})
	var files []string
	all := d.All()
	for i := range all.Len() {
		files = append(files, all.File(i))
	}
	if slices.Sort(files); !slices.Equal(files, want) {
		t.Errorf("the dataset has %q, want %q", files, want)
	}
	for _, l := range [][]LeftOut{left, d.LeftOut} {
		n := map[string]int{}
		for _, e := range l {
			n[e.Why] = e.N
		}
		if n[whyHidden] != 3 || n[whyLoop] != 1 || n[whyBroken] != 2 || len(n) != 3 {
			t.Errorf("left out %v", l)
		}
	}
}

// TestLinksWithoutEnd: two folders that link to each other's parent.
func TestLinksWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	for _, link := range []string{"a", "b", "c"} {
		if err := os.MkdirAll(filepath.Join(dir, "root", link), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"a", "b", "c"} {
			if err := os.Symlink(filepath.Join("..", to), filepath.Join(dir, "root", link, "to-"+to)); err != nil {
				t.Skipf("symbolic links: %v", err)
			}
		}
	}
	paths, left, err := Pictures(context.Background(), dir)
	if err != nil || len(paths) != 0 || len(left) != 1 || left[0].Why != whyLoop {
		t.Errorf("%v, %v, %v", paths, left, err)
	}
}
