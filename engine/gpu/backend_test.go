package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// ours returns options of a backend on cuda/fake without libraries.
func ours(t testing.TB) Options {
	o := fakeOptions(t)
	o.NoLibraries = true
	return o
}

// doubler is y = 2x with its tensors.
type doubler struct {
	kernel engine.Kernel
	buf    engine.Buffer
	x, y   engine.Tensor
}

func newDoubler(t *testing.T, b *Backend, n int) *doubler {
	t.Helper()
	s := engine.F32(n)
	k, err := b.Compile(engine.Add{Weights: []float32{2}}, []engine.Spec{s}, []engine.Spec{s})
	if err != nil {
		t.Fatal(err)
	}
	buf, err := b.Alloc(2*256 + 2*s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	off := (s.Bytes() + 255) &^ 255
	return &doubler{k, buf, engine.Tensor{Spec: s, Buf: buf}, engine.Tensor{Spec: s, Buf: buf, Off: off}}
}

func (d *doubler) enqueue() error {
	return d.kernel.Enqueue([]engine.Tensor{d.x}, []engine.Tensor{d.y}, engine.Tensor{})
}

func TestNoSuchDevice(t *testing.T) {
	o := ours(t)
	for _, device := range []int{-1, 7} {
		o.Device = device
		if _, err := New(o); !errors.Is(err, engine.ErrNoDevice) || !strings.Contains(err.Error(), "there") {
			t.Errorf("device %d: %v", device, err)
		}
	}
}

func TestName(t *testing.T) {
	b := openBackend(t, ours(t))
	if b.Name() != "cuda:0" || b.Device().Name == "" || len(b.Libraries()) == 0 {
		t.Errorf("%q is %+v with %v", b.Name(), b.Device(), b.Libraries())
	}
}

func TestOutOfMemory(t *testing.T) {
	b := openBackend(t, ours(t))
	buf, err := b.Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1 << 30, 1 << 50, -1} {
		_, err := b.Alloc(n)
		if !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("allocating %d bytes: %v", n, err)
		}
	}
	_, err = b.Alloc(3 << 29)
	for _, part := range []string{"out of memory", "1.6 GB needed", "267.4 MB of 268.4 MB free", "cuda:0", b.Device().Name} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
	// What could not be had has not harmed what is there.
	if err := errors.Join(buf.Write(0, []byte{1, 2, 3}), b.Sync(), buf.Close()); err != nil {
		t.Error(err)
	}
}

func TestMemoryIsGivenBack(t *testing.T) {
	o := ours(t)
	before := fake.Live
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoubler(t, b, 1000)
	if _, err := b.Record(d.enqueue); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if got := before(t); got != (fake.Alive{}) {
		t.Errorf("a closed backend leaves %+v", got)
	}
	if err := errors.Join(d.buf.Close(), d.buf.Close()); err != nil {
		t.Errorf("closing a buffer after its backend: %v", err)
	}
	_, alloc := b.Alloc(1)
	_, compile := b.Compile(engine.Activation{}, []engine.Spec{d.x.Spec}, []engine.Spec{d.x.Spec})
	_, record := b.Record(d.enqueue)
	for _, err := range []error{alloc, compile, record, b.Sync(), d.enqueue(), d.x.Write(make([]byte, 4000))} {
		if err == nil {
			t.Error("a closed backend goes on")
		}
	}
}

func TestRecord(t *testing.T) {
	b := openBackend(t, ours(t))
	d := newDoubler(t, b, 100)
	x, y := make([]float32, 100), make([]float32, 100)
	during := make(map[string]error)
	r, err := b.Record(func() error {
		_, alloc := b.Alloc(64)
		_, compile := b.Compile(engine.Activation{}, []engine.Spec{d.x.Spec}, []engine.Spec{d.x.Spec})
		_, record := b.Record(d.enqueue)
		during = map[string]error{"Alloc": alloc, "Compile": compile, "Record": record, "Sync": b.Sync(),
			"Write": d.x.Write(engine.Bytes(x)), "Read": d.x.Read(engine.Bytes(y))}
		return d.enqueue()
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range during {
		if !errors.Is(err, errRecording) {
			t.Errorf("%s during a recording gives %v", what, err)
		}
	}
	for round := range 3 {
		for i := range x {
			x[i] = float32(i + round)
		}
		if err := errors.Join(d.x.Write(engine.Bytes(x)), r.Replay(), d.y.Read(engine.Bytes(y))); err != nil {
			t.Fatal(err)
		}
		if y[7] != 2*x[7] || y[99] != 2*x[99] {
			t.Errorf("replay %d: 2·%g is %g", round, x[7], y[7])
		}
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if r.Replay() == nil {
		t.Error("a closed recording is replayed")
	}
}

func TestRecordingThatFails(t *testing.T) {
	b := openBackend(t, ours(t))
	d := newDoubler(t, b, 100)
	bad := errors.New("bad")
	if _, err := b.Record(func() error { return errors.Join(d.enqueue(), bad) }); !errors.Is(err, bad) {
		t.Errorf("a recording that fails gives %v", err)
	}
	empty, err := b.Record(func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(empty.Replay(), b.Sync(), empty.Close(), d.enqueue(), b.Sync()); err != nil {
		t.Errorf("after an empty recording: %v", err)
	}
}

// TestForeignTensors shows that what is not this backend's memory is refused.
func TestForeignTensors(t *testing.T) {
	b, other := openBackend(t, ours(t)), openBackend(t, ours(t))
	d, e := newDoubler(t, b, 100), newDoubler(t, other, 100)
	closed := newDoubler(t, b, 100)
	if err := closed.buf.Close(); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]engine.Tensor{
		"none": {Spec: d.x.Spec}, "another backend's": e.x, "a closed buffer's": closed.x,
		"behind the end": {Spec: d.x.Spec, Buf: d.buf, Off: d.buf.Bytes() - 396}, "before the start": {Spec: d.x.Spec, Buf: d.buf, Off: -4},
	} {
		if err := d.kernel.Enqueue([]engine.Tensor{x}, []engine.Tensor{d.y}, engine.Tensor{}); err == nil {
			t.Errorf("a tensor in memory that is %s is taken as input", what)
		}
		if err := d.kernel.Enqueue([]engine.Tensor{d.x}, []engine.Tensor{x}, engine.Tensor{}); err == nil {
			t.Errorf("a tensor in memory that is %s is taken as output", what)
		}
	}
	if err := d.kernel.Enqueue(nil, []engine.Tensor{d.y}, engine.Tensor{}); !errors.Is(err, engine.ErrShape) {
		t.Errorf("without inputs: %v", err)
	}
}

func TestBadSpecs(t *testing.T) {
	b := openBackend(t, ours(t))
	x := engine.F32(1, 4, 4, 8)
	for _, c := range []struct {
		op      engine.Op
		in, out []engine.Spec
	}{
		{engine.Activation{}, []engine.Spec{x}, []engine.Spec{engine.F32(3)}},
		{engine.Activation{}, []engine.Spec{x}, nil},
		{engine.Activation{}, []engine.Spec{x}, []engine.Spec{x, x}},
		{engine.Activation{}, []engine.Spec{{Shape: x.Shape, DType: engine.BFloat16}}, []engine.Spec{x}},
		{engine.Conv2D{}, []engine.Spec{x, engine.F32(1, 1, 7, 8)}, []engine.Spec{x}},
	} {
		if _, err := b.Compile(c.op, c.in, c.out); !errors.Is(err, engine.ErrShape) {
			t.Errorf("%s%v → %v: %v", engine.OpName(c.op), c.in, c.out, err)
		}
	}
}

// TestLostDevice shows that a fault of the device surfaces where its work is
// waited for, stays, and does not keep anything from being closed.
func TestLostDevice(t *testing.T) {
	b, err := New(ours(t))
	if err != nil {
		t.Fatal(err)
	}
	d := newDoubler(t, b, 100)
	r, err := b.Record(d.enqueue)
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail(t, "cuStreamSynchronize", fake.IllegalAddress, 0)
	err = b.Sync()
	if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") {
		t.Errorf("the device is lost: Sync gives %v", err)
	}
	_, alloc := b.Alloc(64)
	_, compile := b.Compile(engine.Activation{}, []engine.Spec{d.x.Spec}, []engine.Spec{d.x.Spec})
	_, record := b.Record(d.enqueue)
	for _, again := range []error{b.Sync(), alloc, compile, record, r.Replay(), d.enqueue(), d.x.Write(make([]byte, 400))} {
		if !errors.Is(again, ErrLost) || !strings.HasSuffix(again.Error(), err.Error()) {
			t.Errorf("after %q: %v", err, again)
		}
	}
	if err := errors.Join(r.Close(), d.buf.Close(), b.Close(), b.Close(), d.buf.Close()); err != nil {
		t.Errorf("closing: %v", err)
	}
	// The next backend of the process starts anew.
	d = newDoubler(t, openBackend(t, ours(t)), 100)
	if err := errors.Join(d.enqueue(), d.x.Write(make([]byte, 400))); err != nil {
		t.Errorf("another backend after a lost device: %v", err)
	}
}

// TestPassingFailure shows that an error that is not the device's end is told
// and passes.
func TestPassingFailure(t *testing.T) {
	b := openBackend(t, ours(t))
	d := newDoubler(t, b, 100)
	fake.Fail(t, "cuLaunchKernel", fake.InvalidValue, 0)
	if err := d.enqueue(); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("a launch that is refused gives %v", err)
	}
	if err := errors.Join(d.enqueue(), b.Sync()); err != nil {
		t.Errorf("the next launch: %v", err)
	}
}
