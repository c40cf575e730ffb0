package data

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func cacheFiles(t testing.TB, dir, ext string) []string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// age makes all files of a folder old enough for stamps.
func age(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		old := time.Now().Add(-time.Hour)
		return os.Chtimes(p, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// opened opens a dataset and tells whether pictures were decoded for it.
func opened(t *testing.T, spec string, o Options) (d *Dataset, decoded bool) {
	t.Helper()
	calls := 0
	o.Progress = func(int, int) { calls++ }
	d = mustOpen(t, spec, o)
	return d, calls > 1
}

func TestCache(t *testing.T) {
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	o := Options{CacheDir: cache}
	d, decoded := opened(t, dir, o)
	if !decoded || len(cacheFiles(t, cache, ".images")) != 1 || len(cacheFiles(t, cache, ".stamp")) != 0 {
		t.Fatal("the first opening leaves no cache, or a stamp of new files")
	}
	age(t, dir)
	for range 2 {
		e, decoded := opened(t, dir, o)
		if decoded || describe(e) != describe(d) {
			t.Error("the second opening decodes, or differs")
		}
	}
	if len(cacheFiles(t, cache, ".stamp")) != 1 {
		t.Error("no stamp")
	}
	// A change of content, with a new time, is another dataset.
	name := filepath.Join(dir, "training", "0_0.jpg")
	if err := os.WriteFile(name, paint(t, name, 99), 0o644); err != nil {
		t.Fatal(err)
	}
	if e, decoded := opened(t, dir, o); !decoded || e.Fingerprint == d.Fingerprint {
		t.Error("a changed file is not noticed")
	}
	noTemps(t, cache)
}

// TestDamagedCache flips bytes all over the file, and cuts it.
func TestDamagedCache(t *testing.T) {
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	age(t, dir)
	o := Options{CacheDir: cache}
	d, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	want := describe(d)
	d.Close()
	name := cacheFiles(t, cache, ".images")[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damages := [][]byte{nil, good[:100], good[:len(good)-1], append(slices.Clone(good), 0)}
	for _, at := range []int{0, 8, 13, 20, 50, 60, 70, 80, dataStart, dataStart + 5000, len(good) - 2} {
		b := slices.Clone(good)
		b[at] ^= 0x10
		damages = append(damages, b)
	}
	for i, b := range damages {
		os.Remove(name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		e, decoded := opened(t, dir, o)
		if !decoded || describe(e) != want {
			t.Errorf("damage %d: not made again, or different", i)
		}
	}
}

// fullDisk fails with ENOSPC after room bytes.
type fullDisk struct {
	cacheFile
	room *int
	sync error
}

func (f fullDisk) WriteAt(b []byte, off int64) (int, error) {
	if *f.room -= len(b); *f.room < 0 {
		n, _ := f.cacheFile.WriteAt(b[:len(b)/2], off)
		return n, syscall.ENOSPC
	}
	return f.cacheFile.WriteAt(b, off)
}

func (f fullDisk) Sync() error { return f.sync }

func TestFullDisk(t *testing.T) {
	dir := writeFolder(t, study(t))
	age(t, dir)
	want := describe(mustOpen(t, dir, Options{}))
	for _, room := range []int{0, 2000, 3000, 7900, 1 << 20} {
		cache := t.TempDir()
		left := room
		var log bytes.Buffer
		create := func(dir string) (cacheFile, error) {
			f, err := createTemp(dir)
			return fullDisk{f, &left, syscall.ENOSPC}, err
		}
		d, err := open(context.Background(), dir, Options{CacheDir: cache, Logger: slog.New(slog.NewTextHandler(&log, nil))}, create)
		if err != nil {
			t.Fatal(err)
		}
		if describe(d) != want {
			t.Errorf("room for %d bytes: different images", room)
		}
		if n := strings.Count(log.String(), "cannot be written"); n != 1 {
			t.Errorf("room for %d bytes: %d warnings", room, n)
		}
		if e, err := os.ReadDir(cache); err != nil || len(e) != 0 {
			t.Errorf("room for %d bytes: left %v (%v)", room, e, err)
		}
		d.Close()
	}
	// A cache folder that cannot be made.
	file := writeFile(t, "file", nil)
	if got := describe(mustOpen(t, dir, Options{CacheDir: filepath.Join(file, "cache")})); got != want {
		t.Error("without a cache folder: different images")
	}
}

func TestInterruptedDecoding(t *testing.T) {
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Open(ctx, dir, Options{CacheDir: cache, Progress: func(done, _ int) {
		if done == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if e, err := os.ReadDir(cache); err != nil || len(e) != 0 {
		t.Errorf("left %v (%v)", e, err)
	}
}

func TestConcurrentOpen(t *testing.T) {
	dir, cache := writeFolder(t, study(t)), t.TempDir()
	want := describe(mustOpen(t, dir, Options{}))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			d, err := Open(context.Background(), dir, Options{CacheDir: cache})
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			if describe(d) != want {
				t.Error("different images")
			}
		})
	}
	wg.Wait()
	noTemps(t, cache)
}
