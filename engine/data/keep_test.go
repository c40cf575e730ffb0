package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// photo encodes a picture of h×w pixels.
func photo(t testing.TB, h, w, n int) []byte {
	t.Helper()
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			m.Y[y*m.YStride+x] = uint8(128 + 60*math.Sin(float64(x*(n+1))/97) + 50*math.Cos(float64(y)/(61+float64(n))))
		}
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = uint8(i/7+n*40), uint8(i/11)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// photos is a dataset of large and small pictures.
var photos = func() func(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	return func(t testing.TB) map[string][]byte {
		for c, large := range [][2]int{{1100, 1400}, {1500, 1000}} {
			for i, size := range [][2]int{large, {60, 90}} {
				for p, part := range []string{"train", "val"} {
					if name := fmt.Sprintf("%s/%d/%d.jpg", part, c, i); files[name] == nil {
						files[name] = photo(t, size[0], size[1], 2*c+i+4*p)
					}
				}
			}
		}
		return files
	}
}()

// batches are an epoch's images of both parts.
func batches(t *testing.T, d *Dataset, tr Transform) (out []float32) {
	t.Helper()
	for _, s := range []*Split{d.Train, d.Val} {
		l, err := NewLoader(s, len(d.Classes), LoaderOptions{Batch: 3, Shuffle: true, Augment: tr, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range run(t, l, 1, 0) {
			out = append(out, b.Images...)
		}
	}
	return out
}

// TestKeptFormsAreAlike: whether pixels are kept, files, or scaled pictures, on
// disk or in memory, a net sees the same.
func TestKeptFormsAreAlike(t *testing.T) {
	dir := writeFolder(t, photos(t))
	transforms := []Transform{
		TrainTransform(64),
		{Size: 64, Resize: 80, RandomCrop: true, HFlip: 0.5, Rotation: 9},
		{Size: 48, Resize: 700, RandomResizedCrop: &ScaleRatio{[2]float64{0.3, 1}, [2]float64{0.75, 1.33}}},
	}
	want := make([][]float32, len(transforms))
	for _, o := range []Options{
		{CacheLimit: -1}, // pixels of small pictures, files of large ones
		{CacheLimit: 1},  // files of all
		{CacheDir: filepath.Join(writeFile(t, "file", nil), "none")}, // memory
		{Resize: 80}, {Resize: 80, CacheLimit: 1}, {Resize: 700},
	} {
		d := mustOpen(t, dir, o)
		for k, tr := range transforms {
			if o.Resize != 0 && o.Resize != tr.Resize {
				continue
			}
			got := batches(t, d, tr)
			if want[k] == nil {
				want[k] = got
			}
			if !slices.Equal(got, want[k]) {
				t.Errorf("transform %+v, options %+v: other pixels", tr, o)
			}
		}
		for i := range d.Train.Len() {
			m := d.Train.Image(i)
			if h, w := d.Train.Bounds(i); h != m.H || w != m.W || len(m.Pix) != h*w*3 {
				t.Errorf("image %d is %dx%d, not %dx%d", i, m.H, m.W, h, w)
			}
			whole, err := DecodeImage(photos(t)[d.Train.File(i)])
			if err != nil || o.Resize == 0 && !bytes.Equal(m.Pix, whole.Pix) {
				t.Errorf("options %+v: image %d is not its file's (%v)", o, i, err)
			}
		}
	}
}

// TestCacheIsBounded: large pictures take no more than their files.
func TestCacheIsBounded(t *testing.T) {
	files := photos(t)
	dir := writeFolder(t, files)
	total := int64(0)
	for _, b := range files {
		total += int64(len(b))
	}
	size := func(o Options) int64 {
		o.CacheDir = t.TempDir()
		mustOpen(t, dir, o)
		st, err := os.Stat(cacheFiles(t, o.CacheDir, ".images")[0])
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	const overhead = dataStart + 8*200 // header and index
	small := int64(4 * 60 * 90 * 3)
	if n := size(Options{}); n > total+small+overhead {
		t.Errorf("the cache has %d bytes, the files %d", n, total)
	}
	if n := size(Options{CacheLimit: 1}); n > total+overhead {
		t.Errorf("the cache of files has %d bytes, the files %d", n, total)
	}
	scaled := int64(2*80*101*3 + 2*120*80*3)
	if n := size(Options{Resize: 80}); n > scaled+small+overhead {
		t.Errorf("the cache of scaled pictures has %d bytes, want at most %d", n, scaled+small+overhead)
	}
}

// TestDecodedAnewIsTold: what it costs to keep files.
func TestDecodedAnewIsTold(t *testing.T) {
	dir := writeFolder(t, photos(t))
	want := `level=INFO msg="DATA: 4 of 8 pictures are kept as their files, since their pixels would take 18 MB, and are decoded anew in every epoch: a resize of all of them would be kept instead"`
	if _, lines := logged(t, dir, Options{}); !slices.Equal(lines, []string{want}) {
		t.Errorf("logged %q, want %q", lines, want)
	}
	for _, o := range []Options{{Resize: 80}, {Evaluate: true}} {
		if _, lines := logged(t, dir, o); len(lines) > 0 {
			t.Errorf("%+v: logged %q", o, lines)
		}
	}
}

func TestResizeIsPromised(t *testing.T) {
	d := mustOpen(t, writeFolder(t, photos(t)), Options{Resize: 80})
	if _, err := NewLoader(d.Train, 2, LoaderOptions{Batch: 2, Augment: EvalTransform(64)}); err == nil || !strings.Contains(err.Error(), "resized to 80") {
		t.Errorf("a transform without the resize: %v", err)
	}
}

// TestCacheLimit: what was not used for longest goes first, what is in use stays.
func TestCacheLimit(t *testing.T) {
	cache := t.TempDir()
	set := func(n int) string {
		files := study(t)
		files["training/0_90.png"] = paint(t, ".png", 100+n)
		return writeFolder(t, files)
	}
	open := func(dir string, limit int64) *Dataset {
		t.Helper()
		d, err := Open(context.Background(), dir, Options{CacheDir: cache, CacheLimit: limit})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	sets := []string{set(0), set(1), set(2), set(3)}
	held := open(sets[0], -1)
	defer held.Close()
	want := []string{filepath.Base(cacheFiles(t, cache, ".images")[0])}
	var second *Dataset
	for i, dir := range sets[1:3] {
		d := open(dir, -1)
		if i == 0 {
			second = d
		}
		d.Close()
	}
	all, err := ListCache(cache)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d datasets, %v", len(all), err)
	}
	for _, c := range all {
		if c.InUse != (filepath.Base(c.File) == want[0]) || c.Images != 22 || c.Name == "" || c.Source == "" || c.Bytes < dataStart {
			t.Errorf("%+v", c)
		}
		used := time.Now().Add(-time.Hour)
		if filepath.Base(c.File) == want[0] || strings.HasPrefix(filepath.Base(c.File), second.Fingerprint[:32]) {
			used = used.Add(-time.Hour)
		}
		if err := os.Chtimes(c.File, used, used); err != nil {
			t.Fatal(err)
		}
	}
	// Room for two and a half: the second goes, since the first is in use.
	d := open(sets[3], 7*all[0].Bytes/2)
	defer d.Close()
	left, err := ListCache(cache)
	if err != nil || len(left) != 3 {
		t.Errorf("%d datasets are left, %v", len(left), err)
	}
	for _, c := range left {
		if strings.HasPrefix(filepath.Base(c.File), second.Fingerprint[:32]) {
			t.Error("the one that was not used for longest is left")
		}
	}
	// Opening one makes it the last.
	third := open(sets[2], -1)
	third.Close()
	if left, _ = ListCache(cache); !strings.HasPrefix(filepath.Base(left[0].File), third.Fingerprint[:32]) {
		t.Errorf("the one that was just used is not the first of %v", left)
	}
	removed, err := PruneCache(cache, func(Cached, int64) bool { return true })
	if err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if describe(held) == "" || held.Train.Image(0).H == 0 {
		t.Error("a dataset in use has gone")
	}
	held.Close()
	d.Close()
	if removed, err = PruneCache(cache, func(Cached, int64) bool { return true }); err != nil || len(removed) != 2 || len(cacheFiles(t, cache, ".stamp")) != 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// TestLeftovers: what a killed process was writing goes at the next start; what a
// living one is writing stays.
func TestLeftovers(t *testing.T) {
	if os.Getenv("POTSTILL_TEST_WRITER") != "" {
		f, err := createTemp(os.Getenv("POTSTILL_TEST_WRITER"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(f.Name())
		time.Sleep(time.Minute)
	}
	if !canLock {
		t.Skip("there are no locks here")
	}
	cache, dir := t.TempDir(), writeFolder(t, study(t))
	cmd := exec.Command(os.Args[0], "-test.run", "^TestLeftovers$", "-test.v")
	cmd.Env = append(os.Environ(), "POTSTILL_TEST_WRITER="+cache)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 1000)
	for n := 0; !bytes.Contains(said[:n], []byte(".tmp\n")); {
		k, err := out.Read(said[n:])
		if n += k; err != nil {
			t.Fatalf("%v: %s", err, said[:n])
		}
	}
	mustOpen(t, dir, Options{CacheDir: cache})
	if n := len(cacheFiles(t, cache, ".tmp")); n != 1 {
		t.Errorf("%d files being written, want the one of the living process", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, err := PruneCache(cache, func(Cached, int64) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if n := len(cacheFiles(t, cache, ".tmp")); n != 0 {
		t.Errorf("%d files are left of the killed process", n)
	}
}

// TestCacheThatCannotBeRead is not called damaged.
func TestCacheThatCannotBeRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("as root, permissions are no obstacle: a folder takes the file's place")
	}
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	d := mustOpen(t, dir, Options{CacheDir: cache})
	name, want := cacheFiles(t, cache, ".images")[0], describe(d)
	d.Close()
	if os.Getuid() == 0 {
		os.Remove(name)
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Chmod(name, 0); err != nil {
		t.Fatal(err)
	}
	e, lines := logged(t, dir, Options{CacheDir: cache})
	if describe(e) != want {
		t.Error("different images")
	}
	if text := strings.Join(lines, "\n"); strings.Contains(text, "damaged") || !strings.Contains(text, "cannot be read") {
		t.Errorf("logged %s", text)
	}
}

// TestOtherVersion: the cache of another version is made anew without a word.
func TestOtherVersion(t *testing.T) {
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	d := mustOpen(t, dir, Options{CacheDir: cache})
	name, want := cacheFiles(t, cache, ".images")[0], describe(d)
	d.Close()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[12] = cacheVersion - 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if all, err := ListCache(cache); err != nil || len(all) != 1 || all[0].Name != "" {
		t.Errorf("%v, %v", all, err)
	}
	if e, lines := logged(t, dir, Options{CacheDir: cache}); describe(e) != want || len(lines) > 0 {
		t.Errorf("logged %q, or different images", lines)
	}
}

// TestMuchOnAFullDisk: more than memory should hold is not taken there.
func TestMuchOnAFullDisk(t *testing.T) {
	s := &sink{cache: &cacheDir{log: slog.New(slog.DiscardHandler)}, f: &failing{name: filepath.Join(t.TempDir(), "x")}, end: maxMemory + 1}
	if err := s.add(&entry{}, []byte("x")); !errors.Is(err, errAgain) || s.f != nil {
		t.Errorf("got %v", err)
	}
}

// failing is a file that cannot be written.
type failing struct{ name string }

func (f *failing) WriteAt([]byte, int64) (int, error) { return 0, syscall.ENOSPC }
func (f *failing) ReadAt([]byte, int64) (int, error)  { return 0, io.EOF }
func (f *failing) Sync() error                        { return nil }
func (f *failing) Close() error                       { return nil }
func (f *failing) Name() string                       { return f.name }
func (f *failing) opened() *os.File                   { return nil }
