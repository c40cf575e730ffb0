//go:build linux && cgo

package cuda

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda/fake"
)

func TestWriteAndRead(t *testing.T) {
	for _, queue := range []string{"eager", "lazy"} {
		t.Run(queue, func(t *testing.T) {
			t.Setenv("FAKE_QUEUE", queue)
			c, _ := opened(t, "")
			s := must[*Stream](t)(c.NewStream())
			for _, n := range []int{0, 1, 4097, staging - 1, staging, staging + 1, 2 * staging, 3*staging + 5} {
				src := make([]byte, n)
				rng := rand.NewChaCha8([32]byte{byte(n)})
				rng.Read(src)
				p := must[Ptr](t)(c.Alloc(n))
				q := must[Ptr](t)(c.Alloc(n))
				check(t, s.Write(p, src))
				check(t, s.Copy(q, p, n))
				check(t, s.Fill(p, 7, n))
				got := make([]byte, n)
				check(t, s.Read(got, q))
				if !bytes.Equal(got, src) {
					t.Errorf("%d bytes came back otherwise", n)
				}
				check(t, s.Read(got, p))
				if bytes.Count(got, []byte{7}) != n {
					t.Errorf("%d bytes are not filled", n)
				}
				check(t, c.Free(p))
				check(t, c.Free(q))
			}
		})
	}
}

// A copy beyond an allocation is refused, in the first chunk or a later one, and
// the stream goes on.
func TestCopyBeyond(t *testing.T) {
	r := newRig(t, 10)
	p := must[Ptr](t)(r.c.Alloc(staging + 10))
	wantError(t, r.s.Write(p, make([]byte, staging+20)), "cuMemcpyHtoDAsync_v2", "CUDA_ERROR_INVALID_VALUE")
	wantError(t, r.s.Read(make([]byte, staging+20), p), "cuMemcpyDtoHAsync_v2", "CUDA_ERROR_INVALID_VALUE")
	wantError(t, r.s.Fill(p, 1, staging+11), "CUDA_ERROR_INVALID_VALUE")
	wantError(t, r.s.Copy(p, r.x, 41), "CUDA_ERROR_INVALID_VALUE")
	wantError(t, r.s.Copy(p, r.x, -1), "-1 bytes")
	wantError(t, r.s.Fill(p, 0, -1), "-1 bytes")
	r.want(t, 1)
}

func TestLaunch(t *testing.T) {
	r := newRig(t, 1000)
	check(t, r.launch(2))
	check(t, r.launch(5))
	r.want(t, 10)
}

func TestLaunchErrors(t *testing.T) {
	r := newRig(t, 10)
	a := scaleArgs{r.x, 2, 10}
	p, n := unsafe.Pointer(&a), int(unsafe.Sizeof(a))
	one := [3]int{1, 1, 1}
	for name, c := range map[string]struct {
		grid, block   [3]int
		shared, bytes int
		args          unsafe.Pointer
		want          []string
	}{
		"no block":         {[3]int{0, 1, 1}, one, 0, n, p, []string{"scale", "[0 1 1]"}},
		"negative":         {one, [3]int{1, -1, 1}, 0, n, p, []string{"scale", "[1 -1 1]"}},
		"beyond 32 bits":   {[3]int{1<<32 + 1, 1, 1}, one, 0, n, p, []string{"scale"}},
		"too many threads": {one, [3]int{1025, 1, 1}, 0, n, p, []string{"scale", "cuLaunchKernel", "[1025 1 1]", "CUDA_ERROR_INVALID_VALUE"}},
		"too much shared":  {one, one, 60000, n, p, []string{"scale", "60000 bytes", "CUDA_ERROR_INVALID_VALUE"}},
		"negative shared":  {one, one, -1, n, p, []string{"scale", "-1 bytes"}},
		"too large struct": {one, one, 0, 4097, p, []string{"scale", "4097 bytes", "4096"}},
		"negative struct":  {one, one, 0, -1, p, []string{"scale", "-1 bytes"}},
		"no struct":        {one, one, 0, n, nil, []string{"scale"}},
		"smaller struct":   {one, one, 0, n - 8, p, []string{"scale", "cuLaunchKernel", "8 of parameters"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.s.Launch(r.f, c.grid, c.block, c.shared, c.args, c.bytes)
			wantError(t, err, c.want...)
		})
	}
	r.want(t, 1)
	check(t, r.f.SetDynamicShared(60000))
	check(t, r.s.Launch(r.f, one, [3]int{16, 1, 1}, 60000, p, n))
	r.want(t, 2)
	wantError(t, r.f.SetDynamicShared(1<<30), "scale", "a block of this device can have")
	wantError(t, r.f.SetDynamicShared(-1), "-1 bytes")
	_, err := r.f.m.Function("missing")
	wantError(t, err, "scale has no kernel missing", "CUDA_ERROR_NOT_FOUND")
	check(t, r.f.m.Close())
	wantError(t, r.launch(2), "kernel scale", "closed")
}

func TestLaunchOnAnotherContext(t *testing.T) {
	r, other := newRig(t, 10), newRig(t, 10)
	a := scaleArgs{r.x, 2, 10}
	err := other.s.Launch(r.f, [3]int{1, 1, 1}, [3]int{1, 1, 1}, 0, unsafe.Pointer(&a), int(unsafe.Sizeof(a)))
	wantError(t, err, "another context")
}

// The parameters are copied before Launch returns.
func TestLaunchCopiesItsParameters(t *testing.T) {
	t.Setenv("FAKE_QUEUE", "lazy")
	r := newRig(t, 10)
	a := scaleArgs{r.x, 2, 10}
	check(t, r.s.Launch(r.f, [3]int{1, 1, 1}, [3]int{16, 1, 1}, 0, unsafe.Pointer(&a), int(unsafe.Sizeof(a))))
	a.by = 100
	check(t, r.launch(3))
	r.want(t, 6)
}

func TestCaptureAndReplay(t *testing.T) {
	r := newRig(t, 100)
	h := must[*Host](t)(r.c.AllocHost(4))
	check(t, r.s.BeginCapture())
	check(t, r.launch(2))
	check(t, r.launch(3))
	check(t, r.s.ReadAsync(h, 0, 4, r.x))
	wantError(t, r.s.Write(r.x, []byte{1}), "Write waits")
	wantError(t, r.s.Read(make([]byte, 1), r.x), "Read waits")
	g := must[*Graph](t)(r.s.EndCapture())
	r.want(t, 1) // nothing was done
	check(t, g.Launch(r.s))
	r.want(t, 6)
	check(t, g.Launch(r.s))
	check(t, r.launch(10))
	r.want(t, 360)
	if b := h.Bytes(); !bytes.Equal(b, asBytes([]float32{36})) {
		t.Errorf("read back in the graph: %v", b)
	}
	check(t, g.Close())
	check(t, g.Close())
	wantError(t, g.Launch(r.s), "closed")
	_, err := r.s.EndCapture()
	wantError(t, err, "not captured")
}

// Waiting for a stream that is captured breaks the capture, not the stream.
func TestSpoiledCapture(t *testing.T) {
	r := newRig(t, 10)
	check(t, r.s.BeginCapture())
	check(t, r.launch(2))
	wantError(t, r.s.Sync(), "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
	_, err := r.s.EndCapture()
	wantError(t, err, "cuStreamEndCapture", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
	check(t, r.launch(3))
	r.want(t, 3)
}

// Two streams that an event ties together are captured as one graph.
func TestCaptureAcrossStreams(t *testing.T) {
	r := newRig(t, 10)
	side := &rig{c: r.c, f: r.f, x: r.x, n: r.n, s: must[*Stream](t)(r.c.NewStream())}
	fork := must[*Event](t)(r.c.NewEvent())
	join := must[*Event](t)(r.c.NewEvent())
	check(t, r.s.BeginCapture())
	check(t, r.launch(2))
	check(t, r.s.Record(fork))
	check(t, side.s.Wait(fork))
	check(t, side.launch(5))
	check(t, side.s.Record(join))
	check(t, r.s.Wait(join))
	g := must[*Graph](t)(r.s.EndCapture())
	r.want(t, 1)
	check(t, g.Launch(r.s))
	r.want(t, 10)
}

func TestLaunchAllocatesNothing(t *testing.T) {
	r := newRig(t, 10)
	check(t, r.s.BeginCapture())
	check(t, r.launch(1))
	g := must[*Graph](t)(r.s.EndCapture())
	e := must[*Event](t)(r.c.NewEvent())
	h := must[*Host](t)(r.c.AllocHost(4))
	buf := make([]byte, 40)
	for name, f := range map[string]func() error{
		"Launch":       func() error { return r.launch(1) },
		"Graph.Launch": func() error { return g.Launch(r.s) },
		"ReadAsync":    func() error { return r.s.ReadAsync(h, 0, 4, r.x) },
		"Read":         func() error { return r.s.Read(buf, r.x) },
		"Write":        func() error { return r.s.Write(r.x, buf) },
		"Record":       func() error { return r.s.Record(e) },
		"Sync":         r.s.Sync,
		"Done":         func() error { _, err := e.Done(); return err },
	} {
		if n := testing.AllocsPerRun(20, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestStreamsAreClosed(t *testing.T) {
	c, _ := opened(t, "")
	before := fake.Live(t)
	s := must[*Stream](t)(c.NewStream())
	p := must[Ptr](t)(c.Alloc(10))
	check(t, s.Write(p, make([]byte, 10))) // which makes the pinned buffer
	check(t, c.Free(p))
	check(t, s.Close())
	check(t, s.Close())
	if after := fake.Live(t); after != before {
		t.Errorf("%+v live, %+v did", after, before)
	}
}

// With no room for the pinned buffer, Write says so and works later.
func TestNoRoomForStaging(t *testing.T) {
	c, _ := opened(t, "")
	s := must[*Stream](t)(c.NewStream())
	p := must[Ptr](t)(c.Alloc(10))
	fake.Fail(t, "cuMemHostAlloc", fake.OutOfMemory, 0)
	if err := s.Write(p, make([]byte, 10)); !errors.Is(err, ErrOutOfMemory) {
		t.Fatalf("Write returns %v", err)
	}
	check(t, s.Write(p, make([]byte, 10)))
}

func BenchmarkLaunch(b *testing.B) {
	r := newRig(b, 1)
	for b.Loop() {
		if err := r.launch(1); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCaptureOfTwoStreams captures work of a second stream: it is part of the graph if the
// first one waits for it, and else an error.
func TestCaptureOfTwoStreams(t *testing.T) {
	r := newRig(t, 100)
	side := must[*Stream](t)(r.c.NewStream())
	fork, join := must[*Event](t)(r.c.NewOrderEvent()), must[*Event](t)(r.c.NewOrderEvent())
	scale := func(s *Stream, by float32) {
		t.Helper()
		a := scaleArgs{r.x, by, int32(r.n)}
		check(t, s.Launch(r.f, [3]int{1, 1, 1}, [3]int{128, 1, 1}, 0, unsafe.Pointer(&a), int(unsafe.Sizeof(a))))
	}
	for _, joined := range []bool{false, true} {
		check(t, r.s.BeginCapture())
		scale(r.s, 2)
		check(t, r.s.Record(fork))
		check(t, side.Wait(fork))
		scale(side, 3)
		check(t, side.Record(join))
		if joined {
			check(t, r.s.Wait(join))
			scale(r.s, 5)
		}
		g, err := r.s.EndCapture()
		if !joined {
			wantError(t, err, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED")
			continue
		}
		check(t, err)
		check(t, g.Launch(r.s))
		r.want(t, 30)
		check(t, g.Close())
	}
}
