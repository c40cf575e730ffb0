package gpu

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine/backendtest"
)

// deviceEnv is the environment variable that has the suite run on a real card.
const deviceEnv = "POTSTILL_TEST_CUDA"

// fakeOptions are those of a backend on cuda/fake. Compiled kernels are kept
// beside the stand-ins that compile them.
func fakeOptions(t testing.TB) Options {
	dir := fake.Dir(t)
	return Options{Search: []string{dir}, CacheDir: filepath.Join(dir, "cache")}
}

// openBackend returns a backend that remembers no times of earlier runs and is
// closed with the test.
func openBackend(t testing.TB, o Options) *Backend {
	t.Helper()
	if o.Logger == nil {
		o.Logger = textLog(t.Output())
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.memory = openMemory("", b.identity(), b.log)
	t.Cleanup(func() {
		writeSources(t, b)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// TestSuite runs the suite that every backend passes: over cuda/fake with our
// kernels alone and with every implementation of the stand-in libraries, and on
// a real card where deviceEnv asks for it.
func TestSuite(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		o := fakeOptions(t)
		o.NoLibraries = true
		interpreted.Run(t, openBackend(t, o))
	})
	t.Run("fake-libraries", func(t *testing.T) { eachCandidate(t, fakeOptions(t), interpreted) })
	t.Run("device", func(t *testing.T) {
		if os.Getenv(deviceEnv) != "1" {
			t.Skipf("%s=1 runs it on the first NVIDIA card of this machine", deviceEnv)
		}
		t.Run("ours", func(t *testing.T) { backendtest.Run(t, openBackend(t, Options{NoLibraries: true})) })
		t.Run("chosen", func(t *testing.T) { backendtest.Run(t, openBackend(t, Options{Deterministic: true})) })
		t.Run("libraries", func(t *testing.T) { eachCandidate(t, Options{}, backendtest.Suite{}) })
	})
}

// interpreted is the suite that runs through the stand-ins.
var interpreted = backendtest.Suite{Interpreted: true}

// eachCandidate runs convolutions and linear layers on every deterministic
// implementation that has the libraries behind it: the suite wants the same bits
// twice. A case is run as often as it has implementations.
func eachCandidate(t *testing.T, o Options, s backendtest.Suite) {
	o.Deterministic = true
	s.Only = products
	have := make(map[string]int) // how many implementations a case has
	for i, most := 2, 2; i <= most; i++ {
		t.Run(fmt.Sprint("candidate", i), func(t *testing.T) {
			b := openBackend(t, o)
			if b.dnn == nil || b.blas == nil {
				t.Fatal("cuDNN or cuBLASLt is missing")
			}
			b.forced = i
			ran := 0
			s.Around = func(name string, run func()) {
				if n, known := have[name]; known && n < i {
					return // its last one was run before
				}
				b.most = 0
				run()
				have[name], most = b.most, max(most, b.most)
				ran++
			}
			s.Run(t, b)
			if t.Logf("%d cases have a candidate %d", ran, i); ran == 0 || most < 2 {
				t.Fatal("no library has an implementation of any op")
			}
		})
	}
}

// products are the operators that libraries have, by name.
var products = []string{"Conv2D", "Conv2DBackwardData", "Conv2DBackwardWeight", "Linear", "LinearBackwardData", "LinearBackwardWeight"}
