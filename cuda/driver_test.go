//go:build linux && cgo

package cuda

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/potstill/potstill/cuda/fake"
)

func TestDevices(t *testing.T) {
	c, _ := opened(t, "")
	devices := must[[]Device](t)(c.Driver().Devices())
	if len(devices) != 1 || devices[0] != c.Device() {
		t.Fatalf("devices are %+v", devices)
	}
	d := devices[0]
	if d.Name == "" || d.Major != 9 || d.Memory != 256<<20 || d.Driver != 13000 || d.Multiprocessors < 1 ||
		d.SharedPerBlockOptin < d.SharedPerBlock || d.SharedPerBlock < 48<<10 || len(d.UUID) != len("GPU-")+36 {
		t.Errorf("the device is %+v", d)
	}
	for _, index := range []int{1, -1, 1 << 40} {
		_, err := c.Driver().Open(index)
		wantError(t, err, "there is no device", "the only one is 0")
	}
}

func TestManyDevices(t *testing.T) {
	t.Setenv("FAKE_DEVICES", "3")
	c, _ := opened(t, "")
	if n := len(must[[]Device](t)(c.Driver().Devices())); n != 3 {
		t.Fatalf("%d devices", n)
	}
	other := must[*Context](t)(c.Driver().Open(2))
	defer other.Close()
	if other.Device().Index != 2 {
		t.Errorf("the device is %+v", other.Device())
	}
	_, err := c.Driver().Open(3)
	wantError(t, err, "they are 0 to 2")
}

func TestOldDriver(t *testing.T) {
	t.Setenv("FAKE_DRIVER", "11080")
	_, err := Load(Options{Search: []string{fake.Dir(t)}})
	wantError(t, err, "CUDA 11.8", "525")
}

func TestLibrariesOfTheStandIn(t *testing.T) {
	c, _ := opened(t, "")
	for _, l := range c.Driver().Libraries() {
		if l.Name != "libcuda" && l.Name != "libnvrtc" {
			continue // have tests of their own
		}
		if l.Err != nil || !strings.HasPrefix(l.Path, fake.Dir(t)) || l.Version == "" || l.Fix != "" {
			t.Errorf("%+v", l)
		}
	}
}

func TestMemory(t *testing.T) {
	c, _ := opened(t, "")
	if p, err := c.Alloc(0); p != 0 || err != nil {
		t.Errorf("no bytes are %#x, %v", p, err)
	}
	check(t, c.Free(0))
	_, err := c.Alloc(-1)
	wantError(t, err, "-1 bytes")

	p := must[Ptr](t)(c.Alloc(100 << 20))
	_, err = c.Alloc(200 << 20)
	wantError(t, err, "cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY", "200.0 MiB", "156.0 MiB of 256.0 MiB are free")
	if !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("%v is not ErrOutOfMemory", err)
	}
	check(t, c.Free(p))
	wantError(t, c.Free(p), "nothing is allocated there")
	wantError(t, c.Free(12345), "0x3039")
	free, total, err := c.MemInfo()
	if err != nil || free != total {
		t.Errorf("%d of %d bytes are free, %v", free, total, err)
	}
	p = must[Ptr](t)(c.Alloc(200 << 20)) // there is room again
	check(t, c.Free(p))
}

func TestHostMemory(t *testing.T) {
	c, _ := opened(t, "")
	s := must[*Stream](t)(c.NewStream())
	for _, n := range []int{0, -5} {
		if _, err := c.AllocHost(n); err == nil {
			t.Errorf("%d bytes of pinned memory", n)
		}
	}
	h := must[*Host](t)(c.AllocHost(100))
	p := must[Ptr](t)(c.Alloc(100))
	for i := range h.Bytes() {
		h.Bytes()[i] = byte(i)
	}
	check(t, s.WriteAsync(p, h, 10, 90))
	check(t, s.ReadAsync(h, 0, 90, p))
	check(t, s.Sync())
	if b := h.Bytes(); len(b) != 100 || b[0] != 10 || b[89] != 99 {
		t.Errorf("pinned memory is %v", b)
	}
	for _, at := range [][2]int{{-1, 10}, {0, 101}, {100, 1}, {50, -1}, {1 << 62, 1 << 62}} {
		wantError(t, s.WriteAsync(p, h, at[0], at[1]), "outside")
		wantError(t, s.ReadAsync(h, at[0], at[1], p), "outside")
	}
	check(t, h.Close())
	check(t, h.Close())
	if h.Bytes() != nil {
		t.Error("closed memory has bytes")
	}
	wantError(t, s.ReadAsync(h, 0, 1, p), "closed")
}

func TestOutOfPinnedMemory(t *testing.T) {
	c, _ := opened(t, "")
	fake.Fail(t, "cuMemHostAlloc", fake.OutOfMemory, 0)
	_, err := c.AllocHost(3 << 20)
	wantError(t, err, "cuMemHostAlloc", "3.0 MiB")
	if !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("%v is not ErrOutOfMemory", err)
	}
}

// Closing a context closes all that it made, and leaves nothing.
func TestCloseClosesWhatIsLeft(t *testing.T) {
	before := fake.Alive{}
	c, _ := opened(t, "")
	r := newRig(t, 1000)
	e := must[*Event](t)(r.c.NewEvent())
	h := must[*Host](t)(r.c.AllocHost(10))
	check(t, r.s.BeginCapture())
	check(t, r.launch(2))
	g := must[*Graph](t)(r.s.EndCapture())
	check(t, r.c.Close())
	check(t, c.Close())
	if left := fake.Live(t); left != before {
		t.Errorf("%+v are left", left)
	}
	// All is closed, and closing is idempotent.
	for _, x := range []closer{r.c, r.s, r.f.m, e, h, g, c} {
		check(t, x.Close())
	}
	_, errAlloc := r.c.Alloc(10)
	_, errStream := r.c.NewStream()
	_, errEvent := r.c.NewEvent()
	_, errHost := r.c.AllocHost(1)
	_, errModule := r.c.Compile("scale", scaleSource)
	_, errFunction := r.f.m.Function("scale")
	_, _, errInfo := r.c.MemInfo()
	_, errDone := e.Done()
	_, errSince := e.Since(e)
	_, errCapture := r.s.EndCapture()
	for i, err := range []error{errAlloc, errStream, errEvent, errHost, errModule, errFunction, errInfo, errDone, errSince, errCapture,
		r.c.Sync(), r.c.Free(1), e.Sync(), g.Launch(r.s), r.launch(1), r.f.SetDynamicShared(1), r.s.Sync(), r.s.Record(e), r.s.Wait(e),
		r.s.Copy(1, 2, 3), r.s.Fill(1, 2, 3), r.s.Write(1, []byte{1}), r.s.Read([]byte{1}, 1), r.s.BeginCapture()} {
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("call %d on what is closed returns %v", i, err)
		}
	}
}

// A context that is opened again is not taken for the one that was closed.
func TestOpenAgain(t *testing.T) {
	for range 3 {
		r := newRig(t, 10)
		check(t, r.launch(3))
		r.want(t, 3)
		check(t, r.c.Close())
	}
}

// Two contexts, used in turns on one thread and on several.
func TestContextsInTurns(t *testing.T) {
	t.Setenv("FAKE_DEVICES", "2")
	c, _ := opened(t, "")
	other := must[*Context](t)(c.Driver().Open(1))
	t.Cleanup(func() { other.Close() })
	for range 4 {
		for _, x := range []*Context{c, other} {
			p := must[Ptr](t)(x.Alloc(64))
			check(t, x.Free(p))
		}
	}
}

func TestGoroutinesShareADriver(t *testing.T) {
	c, _ := opened(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			s, err := c.NewStream()
			if err != nil {
				t.Error(err)
				return
			}
			m, err := c.Compile("scale", scaleSource, "-DPLUS=")
			if err != nil {
				t.Error(err)
				return
			}
			f, err := m.Function("scale")
			if err != nil {
				t.Error(err)
				return
			}
			r := &rig{c: c, s: s, f: f, n: 100 + i}
			for range 5 {
				if r.x, err = c.Alloc(4 * r.n); err != nil {
					t.Error(err)
					return
				}
				r.reset(t)
				if err := r.launch(float32(i)); err != nil {
					t.Error(err)
				}
				r.want(t, float32(i))
				if err := c.Free(r.x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// What fails when something is made is named, and leaves nothing.
func TestFailuresWhenMaking(t *testing.T) {
	r := newRig(t, 10)
	before := fake.Live(t)
	capture := func() error {
		if err := r.s.BeginCapture(); err != nil {
			return err
		}
		if err := r.launch(1); err != nil {
			t.Error(err)
		}
		_, err := r.s.EndCapture()
		return err
	}
	for call, f := range map[string]func() error{
		"cuDevicePrimaryCtxRetain":    func() error { _, err := r.c.Driver().Open(0); return err },
		"cuDeviceGetCount":            func() error { _, err := r.c.Driver().Open(0); return err },
		"cuStreamCreate":              func() error { _, err := r.c.NewStream(); return err },
		"cuEventCreate":               func() error { _, err := r.c.NewEvent(); return err },
		"cuMemAlloc_v2":               func() error { _, err := r.c.Alloc(10); return err },
		"cuMemGetInfo_v2":             func() error { _, _, err := r.c.MemInfo(); return err },
		"cuModuleLoadData":            func() error { _, err := r.c.Compile("scale", scaleSource, "-DPLUS="); return err },
		"cuModuleGetFunction":         func() error { _, err := r.f.m.Function("scale"); return err },
		"cuFuncSetAttribute":          func() error { return r.f.SetDynamicShared(100) },
		"cuStreamBeginCapture_v2":     capture,
		"cuGraphInstantiateWithFlags": capture,
		"cuMemcpyHtoDAsync_v2":        func() error { return r.s.Write(r.x, make([]byte, 4)) },
		"cuMemcpyDtoHAsync_v2":        func() error { return r.s.Read(make([]byte, 4), r.x) },
		"cuMemsetD8Async":             func() error { return r.s.Fill(r.x, 0, 4) },
		"cuMemcpyDtoDAsync_v2":        func() error { return r.s.Copy(r.x, r.x, 4) },
		"cuStreamSynchronize":         r.s.Sync,
		"cuCtxSynchronize":            r.c.Sync,
		"cuLaunchKernel":              func() error { return r.launch(1) },
	} {
		fake.Fail(t, call, fake.InvalidValue, 0)
		err := f()
		wantError(t, err, call+": CUDA_ERROR_INVALID_VALUE (1)")
		var e *Error
		if !errors.As(err, &e) || e.Call != call || e.Number != 1 || e.Detail == "" {
			t.Errorf("%s: %#v", call, e)
		}
		if after := fake.Live(t); after != before {
			t.Errorf("%s failed: %+v live, %+v did", call, after, before)
		}
	}
}

// A device that fails is found at the next wait, and everything can still be closed.
func TestLostDevice(t *testing.T) {
	r := newRig(t, 10)
	fake.Fail(t, "scale", fake.LaunchFailed, 0)
	check(t, r.launch(2))
	wantError(t, r.s.Sync(), "cuStreamSynchronize", "CUDA_ERROR_LAUNCH_FAILED", "719")
	wantError(t, r.launch(2), "kernel scale", "719")
	if err := r.c.Close(); err == nil {
		t.Error("closing a failed context says nothing")
	}
	check(t, r.c.Close())
	r = newRig(t, 10) // the primary context is a new one
	check(t, r.launch(2))
	r.want(t, 2)
}

func TestEvents(t *testing.T) {
	t.Setenv("FAKE_QUEUE", "lazy")
	r := newRig(t, 100)
	a := must[*Event](t)(r.c.NewEvent())
	b := must[*Event](t)(r.c.NewEvent())
	_, err := b.Since(a)
	wantError(t, err, "cuEventElapsedTime") // neither was recorded
	check(t, r.s.Record(a))
	check(t, r.launch(2))
	check(t, r.s.Record(b))
	if done, err := b.Done(); done || err != nil {
		t.Errorf("done before anybody waited: %v, %v", done, err)
	}
	check(t, b.Sync())
	if done, err := b.Done(); !done || err != nil {
		t.Errorf("not done after waiting: %v, %v", done, err)
	}
	if d, err := b.Since(a); err != nil || d <= 0 || d > time.Minute {
		t.Errorf("%v passed, %v", d, err)
	}
	if d, err := a.Since(b); err != nil || d >= 0 {
		t.Errorf("%v passed backwards, %v", d, err)
	}
	other := must[*Stream](t)(r.c.NewStream())
	check(t, other.Wait(b))
	check(t, other.Sync())
	check(t, a.Close())
	check(t, a.Close())
	wantError(t, r.s.Record(a), "closed")
	_, err = b.Since(a)
	wantError(t, err, "closed")
}

// TestEventKinds: each kind orders and is waited for; one alone sleeps, one alone
// knows the time.
func TestEventKinds(t *testing.T) {
	r := newRig(t, 10)
	for _, k := range []struct {
		name          string
		make          func() (*Event, error)
		timed, sleeps bool
	}{
		{"plain", r.c.NewEvent, true, false},
		{"order", r.c.NewOrderEvent, false, false},
		{"blocking", r.c.NewBlockingEvent, false, true},
	} {
		a, b := must[*Event](t)(k.make()), must[*Event](t)(k.make())
		before := fake.Calls(t, "CU_EVENT_BLOCKING_SYNC")
		check(t, errors.Join(r.s.Record(a), r.s.Wait(a), r.s.Record(b), b.Sync()))
		if slept := fake.Calls(t, "CU_EVENT_BLOCKING_SYNC") > before; slept != k.sleeps {
			t.Errorf("waiting for the %s event sleeps: %v", k.name, slept)
		}
		if done, err := a.Done(); err != nil || !done {
			t.Errorf("the %s event is done: %v, %v", k.name, done, err)
		}
		if _, err := b.Since(a); (err == nil) != k.timed {
			t.Errorf("the time of the %s event: %v", k.name, err)
		}
		check(t, errors.Join(a.Close(), b.Close()))
	}
}
