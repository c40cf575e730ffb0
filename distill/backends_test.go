package distill

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/engine/ref"
)

// eachBackend runs f with the reference backend, every instruction set of the machine,
// and the stand-ins of CUDA's libraries.
func eachBackend(t *testing.T, f func(t *testing.T, b engine.Backend)) {
	on := func(b engine.Backend, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.ReplaceAll(b.Name(), "/", "-"), func(t *testing.T) {
			defer b.Close()
			f(t, b)
		})
	}
	on(ref.New(), nil)
	for _, v := range cpu.Variants() {
		on(cpu.New(cpu.Options{Threads: 2, Variant: v}))
	}
	t.Run("cuda", func(t *testing.T) {
		dir := fake.Dir(t) // which skips the test where there is no compiler
		b, err := gpu.New(gpu.Options{Search: []string{dir}, CacheDir: filepath.Join(dir, "cache"), NoLibraries: true})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		f(t, b)
	})
}
