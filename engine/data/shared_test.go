package data

import (
	"os"
	"path/filepath"
	"testing"
)

// sharedData returns a file of the folder shared/data, which POTSTILL_SHARED
// names (its parent, that is) or which is found upwards of the test, or skips.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	var tried []string
	if s := os.Getenv("POTSTILL_SHARED"); s != "" {
		tried = append(tried, filepath.Join(s, "data", name))
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		tried = append(tried, filepath.Join(d, "shared", "data", name))
		if d == filepath.Dir(d) {
			break
		}
	}
	for _, p := range tried {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skipf("%s is not at hand: set POTSTILL_SHARED to the folder that holds data/%s", name, name)
	return ""
}

func TestRealPhotographs(t *testing.T) {
	for _, c := range []struct {
		file                      string
		classes, train, val, side int
	}{{"flowers5.tar", 5, 2500, 500, 128}, {"cifar10.tar", 10, 10000, 2000, 32}} {
		t.Run(c.file, func(t *testing.T) {
			if testing.Short() {
				t.Skip("not in short mode")
			}
			p, cache := sharedData(t, c.file), t.TempDir()
			d := mustOpen(t, p, Options{CacheDir: cache, Strict: true})
			if len(d.Classes) != c.classes || d.Train.Len() != c.train || d.Val.Len() != c.val {
				t.Errorf("%d classes, %d + %d images", len(d.Classes), d.Train.Len(), d.Val.Len())
			}
			for i := range d.Val.Len() {
				if m := d.Val.Image(i); m.H != c.side || m.W != c.side {
					t.Fatalf("%s is %dx%d", d.Val.File(i), m.H, m.W)
				}
			}
			e, decoded := opened(t, p, Options{CacheDir: cache})
			if decoded || e.Fingerprint != d.Fingerprint {
				t.Error("decoded again")
			}
		})
	}
}
