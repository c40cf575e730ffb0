package cpu

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// VariantEnv is the environment variable that forces an instruction set, one
// of Variants.
const VariantEnv = "POTSTILL_CPU"

// Options say how the processor is used.
type Options struct {
	// Threads is how many threads compute; 0 means GOMAXPROCS.
	Threads int
	// Variant forces an instruction set, one of Variants; empty means what
	// VariantEnv says, or else the best that the machine has.
	Variant string
}

// A Backend runs kernels on a pool of threads. Its methods must not be called
// at the same time.
type Backend struct {
	variant string
	threads int
	lib     *library
	queue   queue
	carrier carrier
	closed  bool
}

var (
	_ engine.Recorder       = (*Backend)(nil)
	_ engine.Fuser          = (*Backend)(nil)
	_ engine.Chainer        = (*Backend)(nil)
	_ engine.HostBacked     = (*Backend)(nil)
	_ engine.Lender         = (*Backend)(nil)
	_ engine.MixedPrecision = (*Backend)(nil)
)

// New starts the threads. The error for a variant that this machine or build
// does not have wraps engine.ErrUnsupported.
func New(o Options) (*Backend, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("cpu: %d threads: give a positive number, or 0 for all", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Variant == "" {
		o.Variant = os.Getenv(VariantEnv)
	}
	have := Variants()
	if o.Variant == "" {
		o.Variant = have[0]
	}
	if !slices.Contains(have, o.Variant) && !slices.Contains(EmulatedVariants(), o.Variant) {
		return nil, fmt.Errorf("cpu: instruction set %q: %w: here are %s", o.Variant, engine.ErrUnsupported, strings.Join(have, ", "))
	}
	lib, err := openLibrary(o.Variant, o.Threads)
	if err != nil {
		return nil, fmt.Errorf("cpu: starting %d threads: %w", o.Threads, err)
	}
	return &Backend{variant: o.Variant, threads: o.Threads, lib: lib, queue: queue{threads: o.Threads}}, nil
}

// Name returns "cpu/" and the instruction set.
func (b *Backend) Name() string { return "cpu/" + b.variant }

// Threads returns how many threads compute.
func (b *Backend) Threads() int { return b.threads }

// Close stops the threads. Buffers may be closed after it.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.queue.reset()
	b.carrier.close()
	b.lib.close()
	return nil
}

// Sync runs what is in the queue.
func (b *Backend) Sync() error {
	if len(b.queue.commands) == 0 && len(b.queue.exchanges) == 0 {
		return nil
	}
	if b.closed {
		b.queue.reset()
		return errors.New("cpu: the backend is closed")
	}
	err := b.execute(&b.queue)
	b.queue.reset()
	return err
}

// maxAlloc is the largest buffer that is asked of the system, and checkAlloc the
// smallest for which there must be memory at the time: the system hands out more
// than it has, and ends the process when it is used.
const (
	maxAlloc   = 1 << 40
	checkAlloc = 64 << 20
)

// Available returns the bytes that are left of the machine's memory, -1 if that
// is not known. It implements engine.HostBacked.
func (b *Backend) Available() int { return engine.HostMemory() }

// Alloc implements engine.Backend.
func (b *Backend) Alloc(bytes int) (engine.Buffer, error) {
	if bytes < 0 || bytes > maxAlloc {
		return nil, fmt.Errorf("cpu: %d bytes: %w", bytes, engine.ErrOutOfMemory)
	}
	if bytes >= checkAlloc {
		if left := b.Available(); left >= 0 && bytes > left {
			return nil, fmt.Errorf("cpu: %d bytes, %d are left: %w", bytes, left, engine.ErrOutOfMemory)
		}
	}
	p, err := allocate(max(bytes, 1))
	if err != nil {
		return nil, fmt.Errorf("cpu: %d bytes: %w", bytes, err)
	}
	return &buffer{backend: b, p: p, bytes: bytes}, nil
}

// A buffer is aligned memory, outside the Go heap where there is cgo.
type buffer struct {
	backend *Backend
	p       unsafe.Pointer
	bytes   int
}

func (m *buffer) Bytes() int { return m.bytes }

// view checks a range, runs what is in the queue, and returns the range.
func (m *buffer) view(off, n int) ([]byte, error) {
	if m.p == nil {
		return nil, errors.New("cpu: the buffer is closed")
	}
	if off < 0 || n < 0 || off > m.bytes-n {
		return nil, fmt.Errorf("cpu: bytes [%d, %d) of a buffer of %d", off, off+n, m.bytes)
	}
	if err := m.backend.Sync(); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(m.p), m.bytes)[off : off+n], nil
}

func (m *buffer) Write(off int, src []byte) error {
	dst, err := m.view(off, len(src))
	copy(dst, src)
	return err
}

func (m *buffer) Read(off int, dst []byte) error {
	src, err := m.view(off, len(dst))
	copy(dst, src)
	return err
}

func (m *buffer) Close() error {
	if m.p != nil {
		release(m.p)
		m.p = nil
	}
	return nil
}

// at returns the address of a tensor; null for the zero Tensor.
func at(t engine.Tensor) unsafe.Pointer {
	var p unsafe.Pointer
	switch m := t.Buf.(type) {
	case *buffer:
		p = m.p
	case *loan:
		p = m.p
	}
	if p == nil {
		return nil
	}
	return unsafe.Add(p, t.Off)
}

// A queue is a command list under construction.
type queue struct {
	commands  []command
	memory    arena      // holds the arguments
	exchanges []exchange // with other ranks, between the commands
	threads   int        // that will run it
}

func (q *queue) reset() {
	clear(q.commands) // without cgo, arguments keep the memory alive that they point to
	q.commands = q.commands[:0]
	clear(q.exchanges)
	q.exchanges = q.exchanges[:0]
	q.memory.reset()
}

// push appends a launch of at least one task.
func push[A any](q *queue, k kernelID, tasks int, args A) {
	if tasks > 0 {
		q.commands = append(q.commands, command{int64(k), int64(tasks), keep(&q.memory, []A{args})})
	}
}

// A recording is a command list that is kept.
type recording struct {
	backend *Backend
	queue   queue
}

// Record implements engine.Recorder.
func (b *Backend) Record(enqueue func() error) (engine.Recording, error) {
	if err := b.Sync(); err != nil {
		return nil, err
	}
	r := &recording{backend: b}
	err := enqueue()
	r.queue, b.queue = b.queue, queue{threads: b.threads}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Replay runs the list at once: there is nothing to overlap it with.
func (r *recording) Replay() error {
	if err := r.backend.Sync(); err != nil {
		return err
	}
	if r.backend.closed {
		return errors.New("cpu: the backend is closed")
	}
	return r.backend.execute(&r.queue)
}

func (r *recording) Close() error {
	r.queue.commands, r.queue.exchanges = nil, nil
	r.queue.memory.free()
	return nil
}

// A kernel is an op lowered for fixed specs.
type kernel struct {
	backend *Backend
	ws      int
	lower   lowering
	once    *preparation // nil if there is nothing to prepare
}

// A preparation is a kernel in two parts, the first of which depends on some
// inputs only.
type preparation struct {
	inputs  []int
	bytes   int
	prepare func(q *queue, in []engine.Tensor, kept unsafe.Pointer)
	lower   func(q *queue, in, out []engine.Tensor, ws, kept unsafe.Pointer)
}

func (k *kernel) Workspace() int { return k.ws }

func (k *kernel) Enqueue(in, out []engine.Tensor, ws engine.Tensor) error {
	if err := k.check(in, out, ws); err != nil {
		return err
	}
	k.lower(&k.backend.queue, in, out, at(ws))
	return nil
}

// check makes sure that everything is in this backend's memory.
func (k *kernel) check(in, out []engine.Tensor, ws engine.Tensor) error {
	for _, ts := range [2][]engine.Tensor{in, out} {
		for _, t := range ts {
			if at(t) == nil {
				return fmt.Errorf("%s: a tensor is not in this backend's memory", k.backend.Name())
			}
		}
	}
	if k.ws > 0 && at(ws) == nil {
		return fmt.Errorf("%s: the kernel needs %d bytes of workspace", k.backend.Name(), k.ws)
	}
	return nil
}

// Prepares implements engine.Preparer.
func (k *kernel) Prepares() (inputs []int, bytes int) {
	if k.once == nil {
		return nil, 0
	}
	return k.once.inputs, k.once.bytes
}

// Prepare implements engine.Preparer.
func (k *kernel) Prepare(in []engine.Tensor, kept engine.Tensor) error {
	if err := k.check(in, nil, kept); err != nil {
		return err
	}
	k.once.prepare(&k.backend.queue, in, at(kept))
	return nil
}

// EnqueuePrepared implements engine.Preparer.
func (k *kernel) EnqueuePrepared(in, out []engine.Tensor, ws, kept engine.Tensor) error {
	if err := k.check(in, out, ws); err != nil {
		return err
	}
	k.once.lower(&k.backend.queue, in, out, at(ws), at(kept))
	return nil
}
