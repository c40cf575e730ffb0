//go:build linux && cgo

package cuda

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda/fake"
)

// scaleSource is a kernel for the device and for the stand-in.
const scaleSource = `
#ifndef POTSTILL_FAKE
#define KERNEL(name) extern "C" __global__ void name
#endif
#define KERNEL_BOUNDS
typedef struct { float *x; float by; int n; } scale_args;
KERNEL(scale)(scale_args a) {
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
	if (i < a.n)
		a.x[i] = a.x[i] * a.by PLUS;
}
`

type scaleArgs struct {
	x  Ptr
	by float32
	n  int32
}

// A journal keeps the messages of a logger.
type journal struct {
	slog.Handler
	mu  sync.Mutex
	out bytes.Buffer
}

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out.WriteString(r.Message + "\n")
	return nil
}
func (j *journal) Enabled(context.Context, slog.Level) bool { return true }

func (j *journal) count(message string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Count(j.out.Bytes(), []byte(message))
}

// opened returns a context on the stand-in's device, and what its driver says.
func opened(t testing.TB, cacheDir string) (*Context, *journal) {
	t.Helper()
	j := &journal{Handler: slog.DiscardHandler}
	d, err := Load(Options{Search: []string{fake.Dir(t)}, CacheDir: cacheDir, Logger: slog.New(j)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, j
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// check fails the test at an error.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A rig is a context with a stream, a kernel and a vector of n ones.
type rig struct {
	c *Context
	s *Stream
	f *Function
	x Ptr
	n int
}

func newRig(t testing.TB, n int) *rig {
	c, _ := opened(t, "")
	r := &rig{c: c, n: n}
	r.s = must[*Stream](t)(c.NewStream())
	m := must[*Module](t)(c.Compile("scale", scaleSource, "-DPLUS=", "-DN=4"))
	r.f = must[*Function](t)(m.Function("scale"))
	r.x = must[Ptr](t)(c.Alloc(4 * n))
	r.reset(t)
	return r
}

func (r *rig) reset(t testing.TB) {
	t.Helper()
	ones := make([]float32, r.n)
	for i := range ones {
		ones[i] = 1
	}
	check(t, r.s.Write(r.x, asBytes(ones)))
}

func (r *rig) launch(by float32) error {
	a := scaleArgs{r.x, by, int32(r.n)}
	return r.s.Launch(r.f, [3]int{(r.n + 127) / 128, 1, 1}, [3]int{128, 1, 1}, 0, unsafe.Pointer(&a), int(unsafe.Sizeof(a)))
}

// want fails the test unless each element is v.
func (r *rig) want(t testing.TB, v float32) {
	t.Helper()
	got := make([]float32, r.n)
	check(t, r.s.Read(asBytes(got), r.x))
	for i, g := range got {
		if g != v {
			t.Fatalf("element %d is %v, want %v", i, g, v)
		}
	}
}

func asBytes(f []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !bytes.Contains([]byte(err.Error()), []byte(w)) {
			t.Errorf("%v\ndoes not say %q", err, w)
		}
	}
}
