package fake_test

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
)

// A rig is an open context on the stand-in.
type rig struct {
	t testing.TB
	*cuda.Context
	s *cuda.Stream
}

func newRig(t testing.TB) *rig {
	t.Helper()
	d, err := cuda.Load(cuda.Options{Search: []string{fake.Dir(t)}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // an error that a test provoked stays with it
	s, err := c.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &rig{t, c, s}
}

// function compiles a source of one kernel.
func (r *rig) function(name, source string, options ...string) *cuda.Function {
	r.t.Helper()
	m, err := r.Compile(name, "#define KERNEL_BOUNDS\n"+source, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := m.Function(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) alloc(n int) cuda.Ptr {
	r.t.Helper()
	p, err := r.Alloc(n)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// floats reads n floats.
func (r *rig) floats(p cuda.Ptr, n int) []float32 {
	r.t.Helper()
	v := make([]float32, n)
	if err := r.s.Read(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*n), p); err != nil {
		r.t.Fatal(err)
	}
	return v
}

func launch[A any](r *rig, f *cuda.Function, grid, block, shared int, args *A) error {
	return r.s.Launch(f, [3]int{grid, 1, 1}, [3]int{block, 1, 1}, shared, unsafe.Pointer(args), int(unsafe.Sizeof(*args)))
}

type vector struct {
	Y cuda.Ptr
	N int32
	F float32
}

const vectorArgs = "typedef struct { float *y; int n; float f; } k_args;\n"

// run launches a kernel over y and returns y, or the error of the launch or the synchronisation.
func (r *rig) run(source string, grid, block, shared, n int) ([]float32, error) {
	r.t.Helper()
	f := r.function("k", vectorArgs+source)
	y := r.alloc(4 * n)
	if err := launch(r, f, grid, block, shared, &vector{Y: y, N: int32(n), F: 2}); err != nil {
		return nil, err
	}
	if err := r.s.Sync(); err != nil {
		return nil, err
	}
	return r.floats(y, n), nil
}

func TestPlain(t *testing.T) {
	r := newRig(t)
	y, err := r.run(`KERNEL(k)(k_args a) {
		int i = blockIdx.x * blockDim.x + threadIdx.x;
		if (i < a.n - 1) a.y[i] = a.f * i;
	}`, 5, 64, 0, 300)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range y[:299] {
		if v != float32(2*i) {
			t.Fatalf("y[%d] = %v", i, v)
		}
	}
	if !math.IsNaN(float64(y[299])) {
		t.Errorf("what was never written is %v, want NaN", y[299])
	}
}

func TestBarrier(t *testing.T) {
	for _, order := range []string{"", "reverse", "interleave"} {
		t.Run("order "+order, func(t *testing.T) {
			t.Setenv("FAKE_ORDER", order)
			r := newRig(t)
			y, err := r.run(`KERNEL(k)(k_args a) {
				__shared__ float s[96];
				int t = threadIdx.x;
				for (int k = 0; k < 3; k++) {
					s[t] = t + k;
					__syncthreads();
					float v = s[95 - t];
					__syncthreads();
					a.y[k * 96 + t] = v;
				}
			}`, 1, 96, 0, 288)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range y {
				if want := float32(95 - i%96 + i/96); v != want {
					t.Fatalf("y[%d] = %v, want %v", i, v, want)
				}
			}
		})
	}
}

func TestMissingBarrier(t *testing.T) {
	for _, order := range []string{"", "reverse", "interleave"} {
		t.Setenv("FAKE_ORDER", order)
		r := newRig(t)
		y, err := r.run(`KERNEL(k)(k_args a) {
			__shared__ float s[96];
			s[threadIdx.x] = 1;
			a.y[threadIdx.x] = s[95 - threadIdx.x];
		}`, 1, 96, 0, 96)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(y, func(v float32) bool { return math.IsNaN(float64(v)) }) {
			t.Errorf("order %q: shared memory was read before it was written and is not NaN: %v", order, y)
		}
	}
}

func TestShuffles(t *testing.T) {
	for _, order := range []string{"", "reverse", "interleave"} {
		t.Run("order "+order, func(t *testing.T) {
			t.Setenv("FAKE_ORDER", order)
			testShuffles(t)
		})
	}
}

func testShuffles(t *testing.T) {
	r := newRig(t)
	y, err := r.run(`KERNEL(k)(k_args a) {
		int t = threadIdx.x, l = t & 31;
		float v = t;
		for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
		a.y[t] = v;
		a.y[64 + t] = __shfl_down_sync(0xffffffffu, (float)t, 3);
		a.y[128 + t] = __shfl_up_sync(0xffffffffu, (float)t, 3, 8);
		a.y[192 + t] = __shfl_sync(0xffffffffu, t, l / 2, 16);
		a.y[256 + t] = __popc(__ballot_sync(0xffffffffu, l < 5));
		a.y[320 + t] = 2 * __any_sync(0xffffffffu, t == 40) + __all_sync(0xffffffffu, t >= 32);
		__syncwarp();
		if (l < 16) v = __shfl_xor_sync(0xffffu, (float)t, 1);
		else v = __shfl_xor_sync(0xffff0000u, (float)t, 2);
		a.y[384 + t] = v;
	}`, 1, 64, 0, 448)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range y {
		tt, l := i%64, i%32
		want := []float32{
			[]float32{496, 1520}[tt/32],
			float32(tt + []int{3, 0}[l/29]), // beyond the warp's end a lane keeps its own
			float32(tt - []int{0, 3}[min(l%8/3, 1)]),
			float32(tt - l%16 + l/2%16),
			5,
			float32(3 * (tt / 32)),
			float32(tt ^ (1 + l/16)),
		}[i/64]
		if v != want {
			t.Errorf("part %d, thread %d: %v, want %v", i/64, tt, v, want)
		}
	}
}

// TestWarpsInTheWay has two warps share what each should have of its own, with
// barriers of the warp only: interleaved, they must overwrite each other's results.
func TestWarpsInTheWay(t *testing.T) {
	t.Setenv("FAKE_ORDER", "interleave")
	for _, c := range []struct {
		step  string
		mixed bool
	}{{"32", false}, {"16", true}} {
		y, err := newRig(t).run(`KERNEL(k)(k_args a) {
			__shared__ float s[64];
			int t = threadIdx.x, own = t / 32 * `+c.step+`, l = t % 32;
			s[own + l] = t;
			__syncwarp();
			a.y[t] = s[own + 31 - l];
		}`, 1, 64, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		mixed := false
		for i, v := range y {
			mixed = mixed || v != float32(i/32*32+31-i%32)
		}
		if mixed != c.mixed {
			t.Errorf("step %s: mixed %v, want %v: %v", c.step, mixed, c.mixed, y)
		}
	}
}
