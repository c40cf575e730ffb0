package door

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"

	"gorgonia.org/cu"
)

const n = 1000 // floats of a tensor

// numbers returns n of them.
func numbers() []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i) - 300
	}
	return x
}

func options(t *testing.T) gpu.Options { return gpu.Options{NoLibraries: true, CacheDir: t.TempDir()} }

// A program is a user of gorgonia.org/cu with a context, a stream and memory for n floats.
type program struct {
	t      *testing.T
	ctx    *cu.Ctx
	stream cu.Stream
	x      cu.DevicePtr
}

func newProgram(t *testing.T) *program {
	t.Helper()
	device, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, ctx: cu.NewContext(device, cu.SchedAuto)}
	if p.stream, err = p.ctx.MakeStream(cu.NonBlocking); err != nil {
		t.Fatal(err)
	}
	if p.x, err = p.ctx.MemAlloc(4 * n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // fails if somebody has destroyed these already
		p.ctx.MemFree(p.x)
		p.ok("freeing the memory")
		p.ctx.DestroyStream(&p.stream)
		p.ok("destroying the stream")
		if err := p.ctx.Close(); err != nil {
			t.Errorf("destroying the context: %v", err)
		}
	})
	return p
}

// ok fails the test if the last of cu's calls did.
func (p *program) ok(what string) {
	p.t.Helper()
	if err := p.ctx.Error(); err != nil {
		p.t.Errorf("%s: %v", what, err)
	}
}

// write and read copy by cu's functions.
func (p *program) write(x []float32) {
	p.t.Helper()
	p.ctx.MemcpyHtoD(p.x, unsafe.Pointer(&x[0]), 4*n)
	p.ok("copying to the device")
	p.ctx.Synchronize()
	p.ok("waiting for the copy")
}

func (p *program) read(from cu.DevicePtr) []float32 {
	p.t.Helper()
	x := make([]float32, n)
	p.ctx.SynchronizeStream(p.stream)
	p.ok("waiting for the stream")
	p.ctx.MemcpyDtoH(unsafe.Pointer(&x[0]), from, 4*n)
	p.ok("copying from the device")
	return x
}

// double enqueues y = 2x on the backend, with y in memory of ours.
func double(t *testing.T, b *gpu.Backend, x engine.Tensor) (y engine.Tensor) {
	t.Helper()
	k, err := b.Compile(engine.Add{Weights: []float32{2}}, []engine.Spec{x.Spec}, []engine.Spec{x.Spec})
	if err != nil {
		t.Fatal(err)
	}
	buf, err := b.Alloc(x.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	y = engine.Tensor{Spec: x.Spec, Buf: buf}
	if err := k.Enqueue([]engine.Tensor{x}, []engine.Tensor{y}, engine.Tensor{}); err != nil {
		t.Fatal(err)
	}
	return y
}

func doubled(t *testing.T, got, x []float32) {
	t.Helper()
	for i := range x {
		if got[i] != 2*x[i] {
			t.Fatalf("twice %v is %v", x[i], got[i])
		}
	}
}

// TestTheirs has a backend work in what is cu's, and cu read what it computes.
func TestTheirs(t *testing.T) {
	p := newProgram(t)
	b, err := Backend(p.ctx.CUDAContext(), p.stream, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := Context(b.Context()); got != p.ctx.CUDAContext() || got.String() != fmt.Sprintf("0x%x", b.Context().Handle()) {
		t.Errorf("the backend works in %v, not in %v", got, p.ctx.CUDAContext())
	}
	if got := Stream(b.Stream()); got != p.stream || got == cu.NoStream {
		t.Errorf("the backend works in another stream")
	}
	buf, err := Buffer(b, p.x, 4*n)
	if err != nil {
		t.Fatal(err)
	}
	x := engine.Tensor{Spec: engine.F32(n), Buf: buf}
	if at, err := Address(b, x); err != nil || at != p.x {
		t.Errorf("cu's memory at %v is at %v, %v", p.x, at, err)
	}
	p.write(numbers())
	y := double(t, b, x)
	at, err := Address(b, y)
	if err != nil {
		t.Fatal(err)
	}
	doubled(t, p.read(at), numbers())
	p.ctx.MemcpyDtoDAsync(p.x, at, 4*n, p.stream)
	p.ok("copying on the device")
	got := make([]float32, n)
	if err := x.Read(engine.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	doubled(t, got, numbers())
	if err := errors.Join(buf.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	p.write(numbers()) // it is all cu's still
	if got := p.read(p.x); got[n-1] != numbers()[n-1] {
		t.Errorf("cu's memory holds %v", got[n-1])
	}
	runtime.KeepAlive(p.ctx)
}

// TestOurs has cu work in what is a backend's.
func TestOurs(t *testing.T) {
	b, err := gpu.New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours := Context(b.Context())
	if err := cu.SetCurrentContext(ours); err != nil {
		t.Fatal(err)
	}
	if got, err := cu.CurrentContext(); err != nil || got != ours {
		t.Errorf("the current context is %v, %v, want %v", got, err, ours)
	}
	x, err := cu.MemAlloc(4 * n)
	if err != nil {
		t.Fatal(err)
	}
	if err := cu.MemsetD8Async(x, 0x3f, 4*n, Stream(b.Stream())); err != nil {
		t.Fatal(err)
	}
	buf, err := Buffer(b, x, 4*n)
	if err != nil {
		t.Fatal(err)
	}
	y := double(t, b, engine.Tensor{Spec: engine.F32(n), Buf: buf})
	got := make([]float32, n)
	if err := y.Read(engine.Bytes(got)); err != nil || got[0] != 2*0.7470588 || got[n-1] != got[0] {
		t.Errorf("twice 0.7470588 is %v, %v", got[0], err)
	}
	if err := errors.Join(buf.Close(), cu.MemFree(x), b.Close()); err != nil {
		t.Error(err)
	}
	if Context(b.Context()) != (cu.CUContext{}) || Stream(b.Stream()) != cu.NoStream {
		t.Error("a closed backend has handles")
	}
}

// TestLevelBelow goes through package cuda, and has the owner lose its current
// context on the way.
func TestLevelBelow(t *testing.T) {
	p := newProgram(t)
	d, err := cuda.Load(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := AdoptContext(d, p.ctx.CUDAContext())
	if err != nil {
		t.Fatal(err)
	}
	s, err := AdoptStream(c, p.stream)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := errors.Join(s.Fill(cuda.Ptr(p.x), 0, 4*n), cu.SetCurrentContext(cu.CUContext{}), s.Sync()); err != nil {
		t.Error(err)
	}
	if got := p.read(p.x); got[0] != 0 || got[n-1] != 0 {
		t.Errorf("the memory holds %v", got)
	}
	if Context(c) != p.ctx.CUDAContext() || Stream(s) != p.stream {
		t.Error("what comes back is not what was given")
	}
	if err := errors.Join(s.Close(), c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

func refused(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got the error %v, want one with %q", err, words)
	}
}

func TestRefused(t *testing.T) {
	p, other := newProgram(t), newProgram(t)
	_, err := Backend(cu.CUContext{}, p.stream, options(t))
	refused(t, err, "its handle is zero")
	_, err = Backend(p.ctx.CUDAContext(), other.stream, options(t))
	refused(t, err, "it is of the context "+other.ctx.CUContext.String())

	b, err := Backend(p.ctx.CUDAContext(), cu.NoStream, options(t)) // which has it make one
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if Stream(b.Stream()) == cu.NoStream || Stream(b.Stream()) == p.stream {
		t.Error("the backend has no stream of its own")
	}
	_, err = AdoptStream(b.Context(), cu.NoStream)
	refused(t, err, "default stream")
	_, err = Buffer(b, p.x, 4*n+1<<30)
	refused(t, err, "reach beyond")
	_, err = Buffer(b, p.x+4, 4)
	refused(t, err, "multiple of 64")
	_, err = Buffer(b, 0, 4)
	refused(t, err, "no device memory")
	_, err = Buffer(b, other.x, 4*n)
	refused(t, err, "is of the context "+other.ctx.CUContext.String())
}

// TestAnotherDriver shows that a libcuda that the program is not linked with is
// found out before it is given a handle that it does not know.
func TestAnotherDriver(t *testing.T) {
	p := newProgram(t)
	d, err := cuda.Load(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	devices, err := d.Devices()
	if err != nil {
		t.Fatal(err)
	}
	if devices[0].Name != "Potstill Fake" {
		t.Skip("a second copy of NVIDIA's driver does not go into a process")
	}
	text, err := os.ReadFile(d.Libraries()[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libcuda.so.1"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Search = []string{dir}
	_, err = Backend(p.ctx.CUDAContext(), p.stream, o)
	refused(t, err, "linked with another libcuda than "+dir)
}
