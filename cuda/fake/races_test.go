package fake_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
)

// raceKernel is what a kernel's body stands in.
const raceKernel = `
#define KERNEL_BOUNDS
typedef unsigned u32;
typedef struct { u32 *x, *y, *counter; } k_args;
KERNEL(k)(k_args a) {
	__shared__ u32 s[256];
	__shared__ int last;
	u32 t = threadIdx.x, n = blockDim.x, b = blockIdx.x;
	%s
}
`

// lastBlock is a sum over blocks by the last of them, with what is asked for.
func lastBlock(before, come string) string {
	return `if (t == 0) a.x[b] = b;
	__syncthreads();
	if (t == 0) { ` + before + ` last = ` + come + ` == gridDim.x - 1; __threadfence(); }
	__syncthreads();
	if (!last || t > 0) return;
	u32 v = 0;
	for (u32 i = 0; i < gridDim.x; i++) v += a.x[i];
	a.y[0] = v;`
}

// TestRaces shows that each race is found, and that what is ordered is none.
func TestRaces(t *testing.T) {
	t.Setenv("FAKE_RACES", "1")
	for _, c := range []struct{ name, body, want string }{
		{"a barrier", "s[t] = t; __syncthreads(); a.y[b * n + t] = s[n - 1 - t];", ""},
		{"no barrier", "s[t] = t; a.y[b * n + t] = s[n - 1 - t];", "shared memory"},
		{"no barrier before the next write", "s[t] = t; __syncthreads(); u32 v = s[n - 1 - t]; s[t] = v; a.y[b * n + t] = v;", "shared memory"},
		{"two barriers", "s[t] = t; __syncthreads(); u32 v = s[n - 1 - t]; __syncthreads(); s[t] = v; a.y[b * n + t] = v;", ""},
		{"a barrier of the warp", "s[t] = t; __syncwarp(); a.y[b * n + t] = s[t / 32 * 32 + 31 - t % 32];", ""},
		{"no barrier of the warp", "s[t] = t; a.y[b * n + t] = s[t / 32 * 32 + 31 - t % 32];", "shared memory"},
		{"a barrier of the warp between warps", "s[t] = t; __syncwarp(); a.y[b * n + t] = s[n - 1 - t];", "shared memory"},
		{"all write one place", "s[0] = t; __syncthreads(); if (t == 0) a.y[b] = s[0];", "shared memory"},
		{"all read one place", "if (t == 0) s[0] = 1; __syncthreads(); a.y[b * n + t] = s[0];", ""},
		{"device memory without a barrier", "a.x[b * n + t] = t; a.y[b * n + t] = a.x[b * n + n - 1 - t];", "device memory"},
		{"device memory with a barrier", "a.x[b * n + t] = t; __syncthreads(); a.y[b * n + t] = a.x[b * n + n - 1 - t];", ""},
		{"another block's result", "a.x[b * n + t] = t; if (b > 0) a.y[b * n + t] = a.x[(b - 1) * n + t];", "device memory"},
		{"two blocks write one place", "if (t == 0) a.x[0] = b;", "device memory"},
		{"neighbors of two bytes", "((unsigned short *)a.x)[b * n + t] = 1;", ""},
		{"neighbors of one byte", "((unsigned char *)a.x)[b * n + t] = 1;", ""},
		{"sixteen bytes over others'", "if (t % 4 == 0) *(uint4 *)(a.x + b * n + t) = make_uint4(1, 2, 3, 4); else if (t == 5) a.x[b * n + t + 2] = 1;", "device memory"},
		{"the last block", lastBlock("__threadfence();", "atomicAdd(a.counter, 1u)"), ""},
		{"the last block without a fence", lastBlock("", "atomicAdd(a.counter, 1u)"), "device memory"},
		{"the last block by a count that is not atomic", lastBlock("__threadfence();", "(*a.counter)++"), "device memory"},
		{"a write behind the counter", `if (t == 0) { __threadfence(); last = atomicAdd(a.counter, 1u) == gridDim.x - 1; a.x[b] = b; __threadfence(); }
	__syncthreads();
	if (!last || t > 0) return;
	u32 v = 0;
	for (u32 i = 0; i < gridDim.x; i++) v += a.x[i];
	a.y[0] = v;`, "device memory"},
		{"atomics alone", "atomicAdd(a.counter, 1u); atomicMax(a.counter + 1, t);", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			f := r.function("k", fmt.Sprintf(raceKernel, c.body))
			args := struct{ x, y, counter cuda.Ptr }{r.alloc(4096), r.alloc(4096), r.alloc(64)}
			for _, p := range []cuda.Ptr{args.x, args.y, args.counter} {
				if err := r.s.Fill(p, 0, 64); err != nil {
					t.Fatal(err)
				}
			}
			err := r.s.Launch(f, [3]int{4, 1, 1}, [3]int{64, 1, 1}, 0, unsafe.Pointer(&args), int(unsafe.Sizeof(args)))
			err = errors.Join(err, r.s.Sync())
			if c.want == "" && err != nil {
				t.Errorf("it is no race: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), "race") || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the race is not found: %v", err)
			}
		})
	}
}

// TestWorked: a byte that is read or written twice in a launch is moved once.
func TestWorked(t *testing.T) {
	t.Setenv("FAKE_TRAFFIC", "1")
	r := newRig(t)
	f := r.function("k", fmt.Sprintf(raceKernel, "volatile u32 *x = a.x; a.y[b * n + t] = x[b * n + t] + x[b * n + t] + a.counter[0];"))
	args := struct{ x, y, counter cuda.Ptr }{r.alloc(4096), r.alloc(4096), r.alloc(64)}
	fake.Worked(t)
	for i := range 2 {
		if err := errors.Join(r.s.Launch(f, [3]int{4, 1, 1}, [3]int{64, 1, 1}, 0, unsafe.Pointer(&args), int(unsafe.Sizeof(args))), r.s.Sync()); err != nil {
			t.Fatal(err)
		}
		if got, want := fake.Worked(t), []fake.Work{{Name: "k", Count: 1, Read: 4*256 + 4, Written: 4 * 256}}; !slices.Equal(got, want) {
			t.Errorf("launch %d: %+v, want %+v", i, got, want)
		}
	}
}
