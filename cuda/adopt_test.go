//go:build linux && cgo

package cuda

import (
	"runtime"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// A stranger is other code of the process, which has a context of its own with
// a stream and n floats of device memory.
type stranger struct{ context, stream, memory uintptr }

// newStranger makes one on the calling thread, to which the test is locked.
func newStranger(t *testing.T, n int) stranger {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	o := stranger{context: fake.Make(t, "cuCtxCreate_v2", 0, 0)}
	o.stream = fake.Make(t, "cuStreamCreate", 1)
	o.memory = fake.Make(t, "cuMemAlloc_v2", uintptr(4*n))
	t.Cleanup(func() { // fails if somebody has destroyed these already
		fake.Do(t, "cuCtxSetCurrent", o.context)
		fake.Do(t, "cuMemFree_v2", o.memory)
		fake.Do(t, "cuStreamDestroy_v2", o.stream)
		fake.Do(t, "cuCtxDestroy_v2", o.context)
	})
	return o
}

// adopted returns a rig in a stranger's context, stream and memory.
func (o stranger) adopted(t *testing.T, d *Driver, n int) *rig {
	t.Helper()
	r := &rig{c: must[*Context](t)(d.Adopt(o.context)), x: Ptr(o.memory), n: n}
	r.s = must[*Stream](t)(r.c.AdoptStream(o.stream))
	m := must[*Module](t)(r.c.Compile("scale", scaleSource, "-DPLUS=", "-DN=4"))
	r.f = must[*Function](t)(m.Function("scale"))
	return r
}

func TestAdopt(t *testing.T) {
	const n = 1000
	c, _ := opened(t, "")
	o := newStranger(t, n)
	theirs := fake.Live(t)
	r := o.adopted(t, c.Driver(), n)
	if r.c.Device() != c.Device() || r.c.Handle() != o.context || r.s.Handle() != o.stream {
		t.Errorf("adopted %+v, %#x and %#x of %+v", r.c.Device(), r.c.Handle(), r.s.Handle(), o)
	}
	check(t, r.c.CheckMemory(r.x, 4*n))
	r.reset(t)
	check(t, r.launch(3))
	// What is enqueued by either side is done in order.
	fake.Do(t, "cuMemsetD8Async", o.memory, 0, 2000, o.stream)
	r.n = 500
	r.want(t, 0)
	r.n, r.x = 500, r.x+2000
	r.want(t, 3)
	own := must[Ptr](t)(r.c.Alloc(64))
	check(t, r.s.Copy(own, r.x, 64))
	g := r.capture(t)
	check(t, g.Launch(r.s))
	r.want(t, 6)
	check(t, r.c.Close())
	check(t, r.c.Close())
	if got := fake.Live(t); got != theirs {
		t.Errorf("after the adopting context was closed there are %+v, before there were %+v", got, theirs)
	}
	if r.c.Handle() != 0 || r.s.Handle() != 0 {
		t.Error("what is closed has a handle")
	}
	fake.Do(t, "cuCtxSetCurrent", o.context)
	fake.Do(t, "cuStreamSynchronize", o.stream)
}

// capture returns a graph that doubles the vector.
func (r *rig) capture(t *testing.T) *Graph {
	t.Helper()
	check(t, r.s.BeginCapture())
	check(t, r.launch(2))
	return must[*Graph](t)(r.s.EndCapture())
}

// TestOthersChangeTheContext shows that a call finds its context where other
// code has made another one, or none, current on the thread in the meantime.
func TestOthersChangeTheContext(t *testing.T) {
	const n = 10
	c, _ := opened(t, "")
	o, other := newStranger(t, n), newStranger(t, n)
	r := o.adopted(t, c.Driver(), n)
	defer r.c.Close()
	s := must[*Stream](t)(c.NewStream())
	for _, context := range []uintptr{0, other.context, c.Handle()} {
		fake.Do(t, "cuCtxSetCurrent", context)
		p := must[Ptr](t)(r.c.Alloc(64))
		check(t, r.c.CheckMemory(p, 64)) // it is where it should be
		fake.Do(t, "cuCtxSetCurrent", context)
		r.reset(t)
		fake.Do(t, "cuCtxSetCurrent", context)
		check(t, r.launch(2))
		fake.Do(t, "cuCtxSetCurrent", context)
		r.want(t, 2)
		fake.Do(t, "cuCtxSetCurrent", other.context)
		p = must[Ptr](t)(c.Alloc(64))
		check(t, c.CheckMemory(p, 64))
		wantError(t, r.c.CheckMemory(p, 64), "is of the context", "not of this one")
		fake.Do(t, "cuCtxSetCurrent", 0)
		check(t, s.Fill(p, 1, 64))
		check(t, s.Sync())
	}
}

// TestHandles shows that other code can use what is ours.
func TestHandles(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := newRig(t, 100)
	fake.Do(t, "cuCtxSetCurrent", r.c.Handle())
	fake.Do(t, "cuMemsetD8Async", uintptr(r.x), 0, 400, r.s.Handle())
	r.want(t, 0)
	check(t, r.s.Close())
	check(t, r.c.Close())
	if r.s.Handle() != 0 || r.c.Handle() != 0 {
		t.Error("what is closed has a handle")
	}
}

func TestNothingToAdopt(t *testing.T) {
	const n = 100
	c, _ := opened(t, "")
	o, other := newStranger(t, n), newStranger(t, n)
	_, err := c.Driver().Adopt(0)
	wantError(t, err, "its handle is zero")
	before := fake.Live(t)
	_, err = c.Driver().Adopt(0xdeadbeef0)
	wantError(t, err, "cannot adopt the context 0xdeadbeef0", "cuCtxSetCurrent", "CUDA_ERROR_INVALID_CONTEXT")
	fake.Fail(t, "cuCtxGetDevice", fake.InvalidValue, 0)
	_, err = c.Driver().Adopt(o.context)
	wantError(t, err, "cuCtxGetDevice", "CUDA_ERROR_INVALID_VALUE")
	fake.Fail(t, "cuDeviceGetName", fake.InvalidValue, 0)
	_, err = c.Driver().Adopt(o.context)
	wantError(t, err, "cannot adopt a context of device 0", "CUDA_ERROR_INVALID_VALUE")

	a := must[*Context](t)(c.Driver().Adopt(o.context))
	for handle := range uintptr(3) {
		_, err = a.AdoptStream(handle)
		wantError(t, err, "default stream", "make one")
	}
	_, err = a.AdoptStream(other.stream)
	wantError(t, err, "it is of the context")
	fake.Do(t, "cuCtxSetCurrent", o.context)
	gone := fake.Make(t, "cuStreamCreate", 0)
	fake.Do(t, "cuStreamDestroy_v2", gone)
	_, err = a.AdoptStream(gone)
	wantError(t, err, "cuStreamGetCtx", "CUDA_ERROR_INVALID_HANDLE")

	p := Ptr(o.memory)
	for _, bad := range []struct {
		p     Ptr
		bytes int
		words string
	}{
		{p, 4*n + 1, "401 bytes at "}, {p + 396, 5, "reach beyond their allocation, of 400 bytes at "}, {p, -1, "there cannot be -1 bytes"},
		{0, 4, "no device memory is known at 0x0"}, {p - 1, 4, "no device memory"}, {p + 4*n, 0, "no device memory"},
		{Ptr(other.memory), 4, "is of the context"},
	} {
		wantError(t, a.CheckMemory(bad.p, bad.bytes), bad.words)
	}
	check(t, a.CheckMemory(p+396, 4))

	// A stream may be adopted and closed any number of times.
	for range 2 {
		check(t, must[*Stream](t)(a.AdoptStream(o.stream)).Close())
	}
	check(t, a.Close())
	_, err = a.AdoptStream(o.stream)
	wantError(t, err, "is closed")
	wantError(t, a.CheckMemory(p, 4), "is closed")
	if got := fake.Live(t); got != before {
		t.Errorf("there are %+v, before there were %+v", got, before)
	}
}
