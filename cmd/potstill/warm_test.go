package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWarm: what was compiled ahead, for a card that is not there, is all that a
// run on it compiles with kernels of ours.
func TestWarm(t *testing.T) {
	onFake(t)
	dir := t.TempDir()
	args := []string{"warm", "--sm", "90", "--multiprocessors", "4", "--arch", "cnn-dwpw,resnet18", "--size", "32", "--batch", "2", "--cache", dir, "--json"}
	first := decode(t, succeeds(t, args...).out)
	if first["compiled"].(float64) < 10 || first["kept"].(float64) != 0 {
		t.Errorf("the first call gives %v", first)
	}
	again := decode(t, succeeds(t, args...).out)
	if again["compiled"].(float64) != 0 || again["kept"] != first["compiled"] {
		t.Errorf("the second call gives %v, the first %v", again, first)
	}
	sources := filepath.Join(t.TempDir(), "sources")
	succeeds(t, append(args, "--sources", sources)...)
	if files, err := filepath.Glob(filepath.Join(sources, "*.cu")); err != nil || float64(len(files)) != first["compiled"].(float64) {
		t.Errorf("%d sources, %v; %v were compiled", len(files), err, first["compiled"])
	}
	// A run finds it in the user's cache.
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if err := os.Rename(dir, filepath.Join(cache, "potstill")); err != nil {
		t.Fatal(err)
	}
	before := cubins(t, filepath.Join(cache, "potstill"))
	succeeds(t, "bench", "train", "--device", "cuda:0", "--own-kernels", "--arch", "cnn-dwpw", "--size", "32", "--batch", "2", "--time", "1ms")
	after := cubins(t, filepath.Join(cache, "potstill"))
	for name := range after {
		if !before[name] {
			t.Errorf("the run has compiled %s", name)
		}
	}
	args = []string{"warm", "--arch", "cnn-dwpw,resnet18", "--size", "32", "--batch", "2", "--json"}
	if r := decode(t, succeeds(t, args...).out); r["kept"].(float64) != float64(len(before)) {
		t.Errorf("with the card there: %v; %d kernels were there", r, len(before))
	}
	fails(t, []string{"--device cpu", "--sm"}, "warm", "--device", "cpu")
}

// cubins are the kernels that a folder keeps.
func cubins(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.cubin"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for _, f := range found {
		all[filepath.Base(f)] = true
	}
	return all
}
