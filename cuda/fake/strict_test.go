package fake_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
)

// wants fails the test unless err is a driver's error of the code whose detail holds the words.
func wants(t *testing.T, err error, code, words string) {
	t.Helper()
	var e *cuda.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got error %v, want %s", err, code)
	} else if !strings.Contains(err.Error(), words) {
		t.Errorf("the error %q does not say %q", err, words)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, source, code, words string }{
		{"an early end", `if (threadIdx.x == 40) return; __syncthreads(); a.y[0] = 1;`,
			"CUDA_ERROR_LAUNCH_FAILED", "63 threads wait for ever at __syncthreads() while 1 have ended"},
		{"two barriers", "if (threadIdx.x < 32) __syncthreads(); else\n__syncthreads();",
			"CUDA_ERROR_LAUNCH_FAILED", "another __syncthreads()"},
		{"a barrier and a shuffle", `if (threadIdx.x < 31) a.y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1); else __syncthreads();`,
			"CUDA_ERROR_LAUNCH_FAILED", "wait elsewhere"},
		{"two shuffles", "if (threadIdx.x & 1) a.y[0] = __shfl_xor_sync(0xffffffffu, 1.0f, 1); else\na.y[1] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);",
			"CUDA_ERROR_LAUNCH_FAILED", "divergence"},
		{"not in the mask", `a.y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1);`,
			"CUDA_ERROR_LAUNCH_FAILED", "lacks the calling lane"},
		{"a trap", `if (threadIdx.x == 3) __trap();`, "CUDA_ERROR_LAUNCH_FAILED", "thread (3,0,0)"},
		{"behind the end", `a.y[a.n] = 1;`, "CUDA_ERROR_ILLEGAL_ADDRESS", "guard 0 bytes behind"},
		{"before the start", `a.y[-1] = 1;`, "CUDA_ERROR_ILLEGAL_ADDRESS", "guard 4 bytes before"},
		{"far off", `a.y[1 << 20] = 1;`, "CUDA_ERROR_ILLEGAL_ADDRESS", "k: access"},
		{"the null pointer", `a.y = (float *)(size_t)(a.n - 60); a.y[threadIdx.x] = 1;`, "CUDA_ERROR_ILLEGAL_ADDRESS", "k: access"},
		{"in a coroutine", `__syncthreads(); if (threadIdx.x == 9) a.y[1 << 20] = 1; __syncthreads();`,
			"CUDA_ERROR_ILLEGAL_ADDRESS", "thread (9,0,0)"},
		{"beyond dynamic shared memory", `DYNAMIC_SHARED(float, s); s[threadIdx.x + 1] = 1;`,
			"CUDA_ERROR_ILLEGAL_ADDRESS", "dynamic shared memory of 256 bytes"},
		{"beyond static shared memory", `__shared__ float s[64]; s[threadIdx.x + 1] = 1; a.y[0] = s[threadIdx.x];`,
			"CUDA_ERROR_ILLEGAL_ADDRESS", "index 64"},
		{"beyond registers", `float v[4]; for (int i = 0; i < 4; i++) v[(i + 2 * threadIdx.x) % 5] = 1; a.y[0] = v[threadIdx.x & 3];`,
			"CUDA_ERROR_ILLEGAL_ADDRESS", "index 4"},
		{"unaligned", `*(float4 *)(a.y + 1) = make_float4(1, 2, 3, 4);`, "CUDA_ERROR_MISALIGNED_ADDRESS", "k:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.run("KERNEL(k)(k_args a) {"+c.source+"}", 1, 64, 256, 60)
			wants(t, err, c.code, c.words)
			_, again := r.Alloc(4)
			wants(t, again, c.code, "")
		})
	}
}

func TestFaultEndsWithTheContext(t *testing.T) {
	r := newRig(t)
	if _, err := r.run(`KERNEL(k)(k_args a) { __trap(); }`, 1, 1, 0, 1); err == nil {
		t.Fatal("no error of a trap")
	}
	r.s.Close()
	r.Context.Close()
	if _, err := newRig(t).run(`KERNEL(k)(k_args a) { a.y[0] = 1; }`, 1, 1, 0, 1); err != nil {
		t.Error(err)
	}
}

// TestGoFaults shows that the handlers of a kernel's crashes leave Go its own.
func TestGoFaults(t *testing.T) {
	if _, err := newRig(t).run(`KERNEL(k)(k_args a) { a.y[1 << 20] = 1; }`, 1, 1, 0, 1); err == nil {
		t.Fatal("no error of a crash")
	}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var p *rig
			p.s = nil
		}()
	}
}

func TestLaunchLimits(t *testing.T) {
	r := newRig(t)
	f := r.function("k", vectorArgs+"#undef KERNEL_BOUNDS\n#define KERNEL_BOUNDS __launch_bounds__(128, 2)\nKERNEL(k)(k_args a) { a.y[0] = 1; }")
	args := vector{Y: r.alloc(4)}
	try := func(grid, block [3]int, shared, bytes int) error {
		return r.s.Launch(f, grid, block, shared, unsafe.Pointer(&args), bytes)
	}
	one, size := [3]int{1, 1, 1}, int(unsafe.Sizeof(args))
	wants(t, try(one, one, 0, size-8), "CUDA_ERROR_INVALID_VALUE", "")
	wants(t, try(one, [3]int{1025, 1, 1}, 0, size), "CUDA_ERROR_INVALID_VALUE", "")
	wants(t, try(one, [3]int{129, 1, 1}, 0, size), "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "")
	wants(t, try([3]int{1, 65536, 1}, one, 0, size), "CUDA_ERROR_INVALID_VALUE", "")
	wants(t, try(one, one, 49153, size), "CUDA_ERROR_INVALID_VALUE", "")
	if err := f.SetDynamicShared(100 << 10); err != nil {
		t.Fatal(err)
	}
	if err := try(one, one, 100<<10, size); err != nil {
		t.Error(err)
	}
	if err := f.SetDynamicShared(228 << 10); err == nil {
		t.Error("more shared memory than a block may have was granted")
	}
}

func TestMemory(t *testing.T) {
	r := newRig(t)
	before := fake.Live(t)
	free, total, err := r.MemInfo()
	if err != nil || total != 256<<20 {
		t.Fatal(free, total, err)
	}
	p := r.alloc(100 << 20)
	if _, err := r.Alloc(200 << 20); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("200 MiB of the 156 that are left: %v", err)
	}
	if fake.Live(t).Memory != before.Memory+1 {
		t.Errorf("from %+v to %+v with one allocation", before, fake.Live(t))
	}
	if err := r.Free(p); err != nil {
		t.Error(err)
	}
	if err := r.Free(p); err == nil {
		t.Error("freed twice without an error")
	}
	if now, _, _ := r.MemInfo(); now != free {
		t.Errorf("%d bytes are free, were %d", now, free)
	}
	q := r.alloc(10)
	if err := r.s.Fill(q, 1, 11); err == nil {
		t.Error("filled beyond the end")
	}
	t.Setenv("FAKE_MEMORY", "1000")
	if _, err := r.Alloc(1000); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("1000 bytes of 1000 in use: %v", err)
	}
}

func TestUseAfterFree(t *testing.T) {
	r := newRig(t)
	f := r.function("k", vectorArgs+"KERNEL(k)(k_args a) { a.y[0] = 1; }")
	args := vector{Y: r.alloc(4)}
	if err := r.Free(args.Y); err != nil {
		t.Fatal(err)
	}
	if err := launch(r, f, 1, 1, 0, &args); err != nil {
		t.Fatal(err)
	}
	wants(t, r.s.Sync(), "CUDA_ERROR_ILLEGAL_ADDRESS", "k: access")
}

func TestFail(t *testing.T) {
	r := newRig(t)
	fake.Fail(t, "cuMemAlloc_v2", fake.OutOfMemory, 1)
	r.alloc(4)
	if _, err := r.Alloc(4); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("got %v, want the injected error", err)
	}
	r.alloc(4)
	fake.Fail(t, "k", fake.LaunchFailed, 2)
	n := fake.Calls(t, "k")
	for i := range 3 {
		_, err := r.run(`KERNEL(k)(k_args a) { a.y[0] = 1; }`, 1, 1, 0, 1)
		if (err != nil) != (i == 2) {
			t.Errorf("run %d: %v", i, err)
		}
	}
	if n = fake.Calls(t, "k") - n; n != 3 {
		t.Errorf("%d executions were counted, want 3", n)
	}
}

// TestFailByEnvironment runs itself in a process with failures in its environment.
func TestFailByEnvironment(t *testing.T) {
	if os.Getenv("FAKE_FAIL") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailByEnvironment$")
		cmd.Env = append(os.Environ(), "FAKE_FAIL=cuMemAlloc_v2:2:1,k:719:0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	r := newRig(t)
	r.alloc(4)
	if _, err := r.Alloc(4); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("the second allocation: %v", err)
	}
	_, err := r.run(`KERNEL(k)(k_args a) { a.y[0] = 1; }`, 1, 1, 0, 1)
	wants(t, err, "CUDA_ERROR_LAUNCH_FAILED", "injected at k")
}

func TestCompileErrors(t *testing.T) {
	r := newRig(t)
	for _, source := range []string{
		"KERNEL(k)(k_args a) { a.y[0] = nothing; }",
		"KERNEL(k)(k_args a) { a.y[0] = nothing(); }",
		"KERNEL(k)(k_args a) { atomicAdd(a.y, 1.0f); }",
	} {
		_, err := r.Compile("k", "#define KERNEL_BOUNDS\n"+vectorArgs+"#line 7\n"+source)
		wants(t, err, "NVRTC_ERROR_COMPILATION", "k.cu:7")
	}
	if _, err := r.Compile("k", "", "--no-such-option"); err == nil {
		t.Error("an unknown option was taken")
	}
}

func TestCapture(t *testing.T) {
	for _, mode := range []string{"", "lazy"} {
		t.Setenv("FAKE_QUEUE", mode)
		r := newRig(t)
		f := r.function("k", vectorArgs+"KERNEL(k)(k_args a) { a.y[threadIdx.x] += a.f; }")
		args := vector{Y: r.alloc(32), F: 3}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(r.s.BeginCapture())
		must(r.s.Fill(args.Y, 0, 32))
		must(launch(r, f, 1, 8, 0, &args))
		args.F = 4 // of the next launch only
		must(launch(r, f, 1, 8, 0, &args))
		g, err := r.s.EndCapture()
		must(err)
		must(r.s.Fill(args.Y, 0xff, 32))
		must(r.s.Sync())
		for range 2 {
			must(g.Launch(r.s))
			if v := r.floats(args.Y, 8); v[0] != 7 || v[7] != 7 {
				t.Errorf("queue %q: %v, want 7", mode, v)
			}
		}
		must(g.Close())
		must(r.s.BeginCapture())
		if r.s.Sync() == nil {
			t.Error("a stream that is captured was synchronised")
		}
		if _, err := r.s.EndCapture(); err == nil {
			t.Error("an invalid capture gave a graph")
		}
	}
}

// TestLazy shows that work that nobody waits for is not done.
func TestLazy(t *testing.T) {
	t.Setenv("FAKE_QUEUE", "lazy")
	r := newRig(t)
	f := r.function("k", vectorArgs+"KERNEL(k)(k_args a) { a.y[0] = 1; }")
	n := fake.Calls(t, "k")
	if err := launch(r, f, 1, 1, 0, &vector{Y: r.alloc(4)}); err != nil {
		t.Fatal(err)
	}
	e, err := r.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.s.Record(e); err != nil {
		t.Fatal(err)
	}
	if done, err := e.Done(); done || err != nil {
		t.Errorf("done %v, %v before anybody waited", done, err)
	}
	if err := r.s.Sync(); err != nil {
		t.Fatal(err)
	}
	if n = fake.Calls(t, "k") - n; n != 1 {
		t.Errorf("the kernel ran %d times, want once", n)
	}
}
