//go:build linux && cgo

package cuda

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda/fake"
)

// overlapSource is a kernel that waits for what is earlier; the options may put
// something in the place of that, or of what is before it.
const overlapSource = `
#define KERNEL_BOUNDS
#ifndef BEFORE
#define BEFORE
#endif
#ifndef WAIT
#define WAIT WAIT_FOR_EARLIER();
#endif
typedef struct { float *x; float by; int n; } scale_args;
KERNEL(scale)(scale_args a) {
	__shared__ float s[128];
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
	BEFORE
	WAIT
	s[threadIdx.x] = a.by;
	if (i < a.n) a.x[i] *= s[threadIdx.x];
}
`

func newOverlapRig(t *testing.T, options ...string) *rig {
	r := newRig(t, 200)
	r.f = must[*Function](t)(must[*Module](t)(r.c.Compile("scale", overlapSource, options...)).Function("scale"))
	r.f.Overlap()
	return r
}

// overlapped counts the launches of f that may begin before what is earlier has ended.
func overlapped(t *testing.T, f func()) int {
	before := fake.Calls(t, "cuLaunchKernelEx")
	f()
	return fake.Calls(t, "cuLaunchKernelEx") - before
}

// TestOverlap shows which launches overlap: those directly behind another kernel, in
// a stream that nobody else has, and in a graph, too.
func TestOverlap(t *testing.T) {
	r := newOverlapRig(t)
	scale := func() { check(t, r.launch(2)) }
	for _, c := range []struct {
		name    string
		between func()
		want    int
	}{
		{"nothing", func() {}, 1},
		{"a wait of the host", func() { check(t, r.s.Sync()) }, 1},
		{"a copy", func() { check(t, r.s.Copy(r.x+400, r.x, 400)) }, 0},
		{"a fill", func() { check(t, r.s.Fill(r.x, 0, 4)) }, 0},
		{"an event", func() { e := must[*Event](t)(r.c.NewOrderEvent()); check(t, r.s.Record(e)); check(t, r.s.Wait(e)) }, 0},
		{"a library", func() { r.s.lend() }, 0},
	} {
		r.reset(t)
		if got := overlapped(t, func() { scale(); c.between(); scale() }); got != c.want {
			t.Errorf("%s between two kernels: %d overlap, want %d", c.name, got, c.want)
		}
	}
	r.reset(t)
	check(t, r.s.BeginCapture())
	if got := overlapped(t, func() { scale(); scale(); scale() }); got != 2 {
		t.Errorf("%d of three captured kernels overlap, want 2", got)
	}
	g := must[*Graph](t)(r.s.EndCapture())
	check(t, errors.Join(g.Launch(r.s), g.Launch(r.s)))
	r.want(t, 64)
	if r.s.Handle() == 0 || overlapped(t, func() { scale(); scale() }) != 0 {
		t.Error("kernels overlap in a stream that others have")
	}
}

// TestNoOverlap shows that kernels wait for each other's end where a driver, a
// device or the user has it so, and where a kernel does not wait itself.
func TestNoOverlap(t *testing.T) {
	for name, value := range map[string]string{"FAKE_CAPABILITY": "80", "FAKE_DRIVER": "12020", "POTSTILL_CUDA_OVERLAP": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			r := newOverlapRig(t)
			if got := overlapped(t, func() { check(t, errors.Join(r.launch(2), r.launch(2))) }); got != 0 {
				t.Errorf("%d launches overlap", got)
			}
			r.want(t, 4)
			if name != "FAKE_CAPABILITY" {
				return
			}
			r.f.waits = true // an older device refuses it
			wantError(t, errors.Join(r.launch(2), r.launch(2)), "scale", "CUDA_ERROR_NOT_SUPPORTED")
		})
	}
	r := newRig(t, 10)
	if got := overlapped(t, func() { check(t, errors.Join(r.launch(2), r.launch(2))) }); got != 0 {
		t.Errorf("%d launches overlap of a kernel that does not wait", got)
	}
}

// TestOverlapFaults shows that the stand-ins find a kernel that may begin early and
// does not wait, or too late.
func TestOverlapFaults(t *testing.T) {
	t.Setenv("FAKE_RACES", "1")
	for _, c := range []struct{ name, option, want string }{
		{"sound", "-DNOTHING", ""},
		{"shared memory before the wait", "-DBEFORE=s[threadIdx.x]=1.f;", ""},
		{"no wait", "-DWAIT=", "it touches the device's memory before it has waited"},
		{"a read before the wait", "-DBEFORE=if(i<a.n)a.by*=a.x[i];", "it touches the device's memory before it has waited"},
		{"a write before the wait", "-DBEFORE=if(i==7)a.x[i]=1.f;", "it touches the device's memory before it has waited"},
		{"a thread that ends before the wait", "-DBEFORE=if(i==7)return;", "a thread ends that has not waited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newOverlapRig(t, c.option)
			a := scaleArgs{r.x, 2, 200}
			run := func() error {
				return r.s.Launch(r.f, [3]int{2, 1, 1}, [3]int{128, 1, 1}, 0, unsafe.Pointer(&a), int(unsafe.Sizeof(a)))
			}
			check(t, errors.Join(run(), r.s.Sync())) // behind a copy, so that it does not overlap
			err := errors.Join(run(), r.s.Sync())
			if c.want == "" {
				check(t, err)
				return
			}
			wantError(t, err, "CUDA_ERROR_LAUNCH_FAILED", c.want)
		})
	}
}
