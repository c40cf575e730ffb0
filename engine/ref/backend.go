package ref

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/half"
)

// An Option changes a backend made by New.
type Option func(*backend)

// WithoutFusion makes the backend refuse every fused op, as a backend does
// that has none.
func WithoutFusion() Option { return func(b *backend) { b.plain = true } }

// New returns the reference backend: memory of the host, elements of the
// tensors' own types outside, float64 inside. It implements engine.Fuser and
// engine.Recorder, and runs a kernel when it is enqueued. A sequence of kernels
// must not be enqueued from several goroutines at once.
func New(opts ...Option) engine.Backend {
	b := new(backend)
	for _, o := range opts {
		o(b)
	}
	return b
}

type backend struct {
	plain     bool
	recording *recording // where kernels go, nil: they run
}

func (b *backend) Name() string { return "ref" }
func (b *backend) Sync() error  { return nil }
func (b *backend) Close() error { return nil }

// Alloc implements engine.Backend.
func (b *backend) Alloc(bytes int) (engine.Buffer, error) {
	const align, limit = 64, 1 << 36
	if bytes < 0 || bytes > limit {
		return nil, fmt.Errorf("allocating %d bytes: %w", bytes, engine.ErrOutOfMemory)
	}
	mem := make([]byte, bytes+align)
	skip := -int(uintptr(unsafe.Pointer(&mem[0]))) & (align - 1)
	return &buffer{mem: mem[skip : skip+bytes]}, nil
}

// BFloat16 implements engine.MixedPrecision.
func (b *backend) BFloat16() bool { return true }

// Fuses implements engine.Fuser.
func (b *backend) Fuses(op engine.Op, _, _ []engine.Spec) bool {
	_, known := ops[reflect.TypeOf(op)]
	return known && !b.plain
}

// fused reports whether op is one that only the planner's fusion makes.
func fused(op engine.Op) bool {
	switch op := op.(type) {
	case engine.Conv2D:
		return op.Epilogue != engine.Epilogue{}
	case engine.Augment:
		return op.BFloat16
	case engine.BatchNormAct, engine.BatchNormActBackward, engine.FoldBatchNorm, engine.MaxPool2DWinners, engine.MaxPool2DWinnersBackward,
		engine.DistillLoss, engine.DistillLossBackward:
		return true
	}
	return false
}

// Compile implements engine.Backend.
func (b *backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if b.plain && fused(op) {
		return nil, fmt.Errorf("%T%v: fused operators: %w", op, in, engine.ErrUnsupported)
	}
	_, want, err := lookup(op, in)
	if err != nil {
		return nil, err
	}
	k := &kernel{b: b, op: op, in: in, out: want}
	if !equalSpecs(out, want) {
		return nil, fmt.Errorf("%s%v: %w: outputs %v asked for, %v made", engine.OpName(op), in, engine.ErrShape, out, want)
	}
	return k, nil
}

func equalSpecs(a, b []engine.Spec) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// Record implements engine.Recorder.
func (b *backend) Record(enqueue func() error) (engine.Recording, error) {
	if b.recording != nil {
		return nil, errors.New("recording on the reference backend: a recording is under way")
	}
	r := new(recording)
	b.recording = r
	err := enqueue()
	b.recording = nil
	if err != nil {
		return nil, err
	}
	return r, nil
}

// A recording is the list of the kernels' runs.
type recording struct{ runs []func() error }

func (r *recording) Replay() error {
	for _, run := range r.runs {
		if err := run(); err != nil {
			return err
		}
	}
	return nil
}

func (r *recording) Close() error {
	r.runs = nil
	return nil
}

// A kernel is an operator with its specs.
type kernel struct {
	b       *backend
	op      engine.Op
	in, out []engine.Spec
}

// Workspace implements engine.Kernel.
func (k *kernel) Workspace() int { return 0 }

// Enqueue implements engine.Kernel. Unlike a real backend's it allocates.
func (k *kernel) Enqueue(in, out []engine.Tensor, _ engine.Tensor) error {
	for _, g := range []struct {
		t []engine.Tensor
		s []engine.Spec
	}{{in, k.in}, {out, k.out}} {
		if len(g.t) != len(g.s) {
			return fmt.Errorf("%s: %w: %d tensors for %d places", engine.OpName(k.op), engine.ErrShape, len(g.t), len(g.s))
		}
		for i, t := range g.t {
			if !t.Equal(g.s[i]) {
				return fmt.Errorf("%s: %w: tensor %v for %v", engine.OpName(k.op), engine.ErrShape, t.Spec, g.s[i])
			}
		}
	}
	if r := k.b.recording; r != nil {
		in, out := append([]engine.Tensor(nil), in...), append([]engine.Tensor(nil), out...)
		r.runs = append(r.runs, func() error { return k.run(in, out) })
		return nil
	}
	return k.run(in, out)
}

func (k *kernel) run(in, out []engine.Tensor) error {
	arrays := make([]Array, len(in))
	for i, t := range in {
		data := make([]byte, t.Bytes())
		if err := t.Read(data); err != nil {
			return fmt.Errorf("%s: reading input %d: %w", engine.OpName(k.op), i, err)
		}
		arrays[i] = Decode(t.Spec, data)
	}
	results, err := Eval(k.op, arrays)
	if err != nil {
		return err
	}
	for i, t := range out {
		if err := t.Write(results[i].Encode()); err != nil {
			return fmt.Errorf("%s: writing output %d: %w", engine.OpName(k.op), i, err)
		}
	}
	return nil
}

// Decode returns the array of a tensor's bytes, of which it has s.Bytes().
func Decode(s engine.Spec, data []byte) Array {
	a := NewArray(s)
	ne := binary.NativeEndian
	for i := range a.V {
		switch b := data[i*s.DType.Size():]; s.DType {
		case engine.Float32:
			a.V[i] = float64(math.Float32frombits(ne.Uint32(b)))
		case engine.Int64:
			a.V[i] = float64(int64(ne.Uint64(b)))
		case engine.Uint32:
			a.V[i] = float64(ne.Uint32(b))
		case engine.Uint8:
			a.V[i] = float64(b[0])
		case engine.Int8:
			a.V[i] = float64(int8(b[0]))
		case engine.Int32:
			a.V[i] = float64(int32(ne.Uint32(b)))
		case engine.BFloat16:
			a.V[i] = float64(half.BFloat16(ne.Uint16(b)).Float32())
		}
	}
	return a
}

// Encode returns the tensor's bytes, every element rounded to its type.
func (a Array) Encode() []byte {
	data := make([]byte, 0, a.Bytes())
	ne := binary.NativeEndian
	for _, v := range a.V {
		switch a.DType {
		case engine.Float32:
			data = ne.AppendUint32(data, math.Float32bits(float32(v)))
		case engine.Int64:
			data = ne.AppendUint64(data, uint64(int64(v)))
		case engine.Uint32:
			data = ne.AppendUint32(data, uint32(v))
		case engine.Uint8:
			data = append(data, byte(v))
		case engine.Int8:
			data = append(data, byte(int8(v)))
		case engine.Int32:
			data = ne.AppendUint32(data, uint32(int32(v)))
		case engine.BFloat16:
			data = ne.AppendUint16(data, uint16(half.ToBFloat16(float32(v))))
		}
	}
	return data
}

// A buffer is memory of the host.
type buffer struct{ mem []byte }

func (b *buffer) Bytes() int { return len(b.mem) }

func (b *buffer) check(off, n int) error {
	if off < 0 || n > len(b.mem)-off {
		return fmt.Errorf("%d bytes at %d of a buffer of %d: out of range", n, off, len(b.mem))
	}
	return nil
}

func (b *buffer) Write(off int, src []byte) error {
	if err := b.check(off, len(src)); err != nil {
		return err
	}
	copy(b.mem[off:], src)
	return nil
}

func (b *buffer) Read(off int, dst []byte) error {
	if err := b.check(off, len(dst)); err != nil {
		return err
	}
	copy(dst, b.mem[off:])
	return nil
}

func (b *buffer) Close() error {
	b.mem = nil
	return nil
}
