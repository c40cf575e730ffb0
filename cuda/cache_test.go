package cuda

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestKeyTellsPartsApart(t *testing.T) {
	if keyOf("ab", "c") == keyOf("a", "bc") || keyOf("a") == keyOf("a", "") || keyOf() == keyOf("") {
		t.Error("two lists of parts have one key")
	}
}

func TestCacheKeeps(t *testing.T) {
	c := cache{filepath.Join(t.TempDir(), "a", "b")}
	k := keyOf("kernel")
	if _, err := c.get(k); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an empty cache gives %v", err)
	}
	for _, cubin := range [][]byte{[]byte("first"), {}, bytes.Repeat([]byte("second"), 1e5)} {
		if err := c.put(k, cubin); err != nil {
			t.Fatal(err)
		}
		if got, err := c.get(k); err != nil || !bytes.Equal(got, cubin) {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(cubin))
		}
	}
	if _, err := c.get(keyOf("other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another key gives %v", err)
	}
	if files, err := os.ReadDir(c.dir); err != nil || len(files) != 1 {
		t.Errorf("%d files are left, %v; want 1", len(files), err)
	}
}

func TestCacheWithoutFolder(t *testing.T) {
	var c cache
	if err := c.put(keyOf("k"), []byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := c.get(keyOf("k")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder gives %v", err)
	}
}

// hostile files must give an error other than that nothing is there, at once.
func TestCacheRefusesHostileFiles(t *testing.T) {
	k := keyOf("kernel")
	good := func(t *testing.T) (cache, []byte) {
		c := cache{t.TempDir()}
		if err := c.put(k, []byte("a cubin of some bytes")); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(c.path(k))
		if err != nil {
			t.Fatal(err)
		}
		return c, b
	}
	refused := func(t *testing.T, c cache) {
		t.Helper()
		if b, err := c.get(k); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %q, %v", b, err)
		}
		// A damaged file is replaced.
		if err := c.put(k, []byte("again")); err != nil {
			return // a folder is in the way
		}
		if b, err := c.get(k); err != nil || string(b) != "again" {
			t.Errorf("after another put: %q, %v", b, err)
		}
	}
	t.Run("every byte", func(t *testing.T) {
		c, b := good(t)
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x40
			touch(t, c.path(k), string(bad))
			if _, err := c.get(k); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("byte %d is changed, and get says %v", i, err)
			}
		}
		refused(t, c)
	})
	t.Run("every length", func(t *testing.T) {
		c, b := good(t)
		for n := range b {
			touch(t, c.path(k), string(b[:n]))
			if _, err := c.get(k); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%d bytes are left, and get says %v", n, err)
			}
		}
		touch(t, c.path(k), string(b)+"x")
		refused(t, c)
	})
	t.Run("of another kernel", func(t *testing.T) {
		c, _ := good(t)
		other := keyOf("other")
		if err := c.put(other, []byte("other")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(c.path(other), c.path(k)); err != nil {
			t.Fatal(err)
		}
		refused(t, c)
	})
	t.Run("large", func(t *testing.T) {
		c, _ := good(t)
		if err := os.Truncate(c.path(k), 1<<40); err != nil {
			t.Skip("this file system has no sparse files:", err)
		}
		refused(t, c)
	})
	t.Run("folder", func(t *testing.T) {
		c, _ := good(t)
		if err := os.Remove(c.path(k)); err != nil {
			t.Fatal(err)
		}
		touch(t, filepath.Join(c.path(k), "x"), "")
		refused(t, c)
		if files, err := os.ReadDir(c.dir); err != nil || len(files) != 1 {
			t.Errorf("%d files are left, %v; a failed put leaves nothing", len(files), err)
		}
	})
	t.Run("device", func(t *testing.T) {
		c, _ := good(t)
		if err := os.Remove(c.path(k)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/zero", c.path(k)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
		refused(t, c)
	})
}

func TestCacheUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	touch(t, file, "")
	c := cache{filepath.Join(file, "below")}
	if err := c.put(keyOf("k"), []byte("x")); err == nil {
		t.Error("a folder below a file could be made")
	}
	if _, err := c.get(keyOf("k")); err == nil {
		t.Error("something was read below a file")
	}
}

// Readers see a whole file, whatever writers do.
func TestCacheIsAtomic(t *testing.T) {
	c := cache{t.TempDir()}
	k := keyOf("k")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 20 {
				if err := c.put(k, bytes.Repeat([]byte{byte(i)}, 1+i*50000)); err != nil {
					t.Error(err)
				}
				if _, err := c.get(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
