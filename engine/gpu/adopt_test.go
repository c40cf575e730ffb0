//go:build linux && cgo

package gpu

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// adoptees is how many floats an owner's memory holds.
const adoptees = 1000

// fills are numbers whose bytes are all alike.
var fills = map[byte]float32{0: 0, 0x3f: 0.7470588, 0x40: 3.0039216}

// An owner is other code of the process, with a context, a stream and memory.
type owner struct {
	t                       *testing.T
	context, stream, memory uintptr
}

func newOwner(t *testing.T) *owner {
	t.Helper()
	if _, err := cuda.Load(cuda.Options{Search: []string{fake.Dir(t)}}); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	o := &owner{t: t, context: fake.Make(t, "cuCtxCreate_v2", 0, 0)}
	o.stream = fake.Make(t, "cuStreamCreate", 1)
	o.memory = fake.Make(t, "cuMemAlloc_v2", 4*adoptees)
	t.Cleanup(func() { // fails if somebody has destroyed these already
		fake.Do(t, "cuCtxSetCurrent", o.context)
		fake.Do(t, "cuMemFree_v2", o.memory)
		fake.Do(t, "cuStreamDestroy_v2", o.stream)
		fake.Do(t, "cuCtxDestroy_v2", o.context)
	})
	return o
}

// fill enqueues that all of the owner's numbers become fills[with].
func (o *owner) fill(with byte) {
	o.t.Helper()
	fake.Do(o.t, "cuCtxSetCurrent", o.context)
	fake.Do(o.t, "cuMemsetD8Async", o.memory, uintptr(with), 4*adoptees, o.stream)
	fake.Do(o.t, "cuCtxSetCurrent", 0)
}

// holds fails the test unless every number of a tensor is v.
func holds(t *testing.T, x engine.Tensor, v float32) {
	t.Helper()
	got := make([]float32, x.Bytes()/4)
	if err := x.Read(engine.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		if g != v {
			t.Fatalf("number %d is %v, want %v", i, g, v)
		}
	}
}

func TestForeign(t *testing.T) {
	for _, queue := range []string{"", "lazy"} {
		t.Run("queue "+queue, func(t *testing.T) {
			t.Setenv("FAKE_QUEUE", queue)
			o := newOwner(t)
			before := fake.Live(t)
			options := ours(t)
			options.Foreign = &Foreign{Context: o.context, Stream: o.stream}
			options.Device = 7 // which there is not
			b := openBackend(t, options)
			if b.Name() != "cuda:0" || b.Context().Handle() != o.context || b.Stream().Handle() != o.stream {
				t.Errorf("%s works in %#x and %#x of %+v", b.Name(), b.Context().Handle(), b.Stream().Handle(), o)
			}
			o.useKernel(b)
			o.useProgram(b)
			if err := errors.Join(b.Close(), b.Close()); err != nil {
				t.Error(err)
			}
			if got := fake.Live(t); got != before {
				t.Errorf("the closed backend leaves %+v, there were %+v", got, before)
			}
			o.fill(0)
		})
	}
}

// useKernel doubles the owner's numbers into memory of the backend, and has the
// owner take them back from there.
func (o *owner) useKernel(b *Backend) {
	t := o.t
	buf, err := b.Adopt(cuda.Ptr(o.memory), 4*adoptees)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoubler(t, b, adoptees)
	d.x.Buf = buf
	if p, err := b.Address(d.x); err != nil || uintptr(p) != o.memory {
		t.Errorf("the adopted memory is at %#x, %v, want %#x", p, err, o.memory)
	}
	y, err := b.Address(d.y)
	if err != nil {
		t.Fatal(err)
	}
	o.fill(0x3f)
	if err := d.enqueue(); err != nil {
		t.Fatal(err)
	}
	fake.Do(t, "cuCtxSetCurrent", o.context)
	fake.Do(t, "cuMemcpyDtoDAsync_v2", o.memory, uintptr(y), 4*adoptees, o.stream)
	holds(t, d.x, 2*fills[0x3f])
	if err := errors.Join(buf.Close(), buf.Close(), d.buf.Close()); err != nil {
		t.Error(err)
	}
	if _, err := b.Address(d.x); !errors.Is(err, errFreed) {
		t.Errorf("the address of what is closed: %v", err)
	}
	o.fill(0) // closing has freed nothing
}

// useProgram runs a program of which a variable lies in the owner's memory.
func (o *owner) useProgram(b *Backend) {
	t := o.t
	buf, err := b.Adopt(cuda.Ptr(o.memory), 4*adoptees)
	if err != nil {
		t.Fatal(err)
	}
	v := &engine.Variable{Name: "v", Spec: engine.F32(adoptees)}
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	twice := bu.One(engine.Add{Weights: []float32{2}}, bu.Variable(v)) // hoisted
	store := engine.NewStore(b)
	if err := store.Adopt(v, buf); err != nil {
		t.Fatal(err)
	}
	p, err := g.Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{twice}})
	if err != nil {
		t.Fatal(err)
	}
	for fill, value := range fills {
		o.fill(fill)
		store.Changed(v)
		got := make([]float32, adoptees)
		if err := errors.Join(p.Run(context.Background(), nil), p.Read(twice, engine.Bytes(got))); err != nil {
			t.Fatal(err)
		}
		if got[0] != 2*value || got[adoptees-1] != 2*value {
			t.Errorf("twice %g is %g", value, got[0])
		}
	}
	if err := errors.Join(p.Close(), store.Close()); err != nil {
		t.Error(err)
	}
}

// TestForeignContextOnly shows that a backend makes its own stream where it is
// given none, and gives the context of one that opened the card away.
func TestForeignContextOnly(t *testing.T) {
	first := openBackend(t, ours(t))
	options := ours(t)
	options.Foreign = &Foreign{Context: first.Context().Handle()}
	second := openBackend(t, options)
	if second.Context().Handle() != first.Context().Handle() || second.Stream().Handle() == first.Stream().Handle() {
		t.Error("two backends do not have one context and two streams")
	}
	d := newDoubler(t, first, adoptees)
	x := make([]float32, adoptees)
	for i := range x {
		x[i] = 1
	}
	p, err := first.Address(d.x)
	if err := errors.Join(err, d.x.Write(engine.Bytes(x))); err != nil {
		t.Fatal(err)
	}
	buf, err := second.Adopt(p, d.x.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	holds(t, engine.Tensor{Spec: d.x.Spec, Buf: buf}, 1)
}

func TestForeignThingsRefused(t *testing.T) {
	o, other := newOwner(t), newOwner(t)
	for _, c := range []struct {
		f     Foreign
		words string
	}{
		{Foreign{}, "its handle is zero"},
		{Foreign{Context: 0xdeadbeef0}, "CUDA_ERROR_INVALID_CONTEXT"},
		{Foreign{Context: o.context, Stream: 1}, "default stream"},
		{Foreign{Context: o.context, Stream: other.stream}, "it is of the context"},
	} {
		options := ours(t)
		options.Foreign = &c.f
		if _, err := New(options); err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "cuda:0") {
			t.Errorf("%+v: %v", c.f, err)
		}
	}
	options := ours(t)
	options.Foreign = &Foreign{Context: o.context, Stream: o.stream}
	b := openBackend(t, options)
	for _, c := range []struct {
		p     uintptr
		bytes int
		words string
	}{
		{o.memory + 4, 4, "must be a multiple of 64"}, {o.memory, 4*adoptees + 1, "reach beyond"}, {o.memory, -1, "cannot be"},
		{0, 4, "no device memory"}, {other.memory, 4, "is of the context"},
	} {
		if _, err := b.Adopt(cuda.Ptr(c.p), c.bytes); err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "cuda:0") {
			t.Errorf("%d bytes at %#x: %v", c.bytes, c.p, err)
		}
	}
	buf, err := b.Adopt(cuda.Ptr(o.memory+64), 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Address(engine.Tensor{Spec: engine.F32(2), Buf: buf}); !errors.Is(err, errBeyond) {
		t.Errorf("a tensor that reaches beyond its buffer: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Adopt(cuda.Ptr(o.memory), 4); !errors.Is(err, errClosed) {
		t.Errorf("a closed backend adopts: %v", err)
	}
}
