package engine

import "fmt"

// A Backend runs operators on one device. It is the seam between the planner
// and the hardware, and it is small on purpose: memory, and one compiled
// kernel per operator and shape.
type Backend interface {
	// Name identifies the device and the code path, as in "cpu/avx512" or "cuda:0".
	Name() string
	// Alloc returns a buffer of at least the given bytes, aligned to 64, whose
	// content is undefined. The error wraps ErrOutOfMemory where that is the cause.
	Alloc(bytes int) (Buffer, error)
	// Compile makes the kernel of op for these specs. It returns an error that
	// wraps ErrUnsupported for what it cannot run.
	Compile(op Op, in, out []Spec) (Kernel, error)
	// Sync waits for everything enqueued; failures that happened meanwhile
	// surface here.
	Sync() error
	// Close frees what the backend holds. It may be called twice.
	Close() error
}

// A Buffer is memory of a device. Reads and writes are ordered after
// everything that was enqueued before them.
type Buffer interface {
	Bytes() int
	Write(off int, src []byte) error
	Read(off int, dst []byte) error
	Close() error
}

// A Tensor is a Spec laid over a place in a Buffer.
type Tensor struct {
	Spec
	Buf Buffer
	Off int // bytes from the start of Buf
}

// Write copies src, which must have the tensor's bytes, to the device.
func (t Tensor) Write(src []byte) error { return t.Buf.Write(t.Off, src[:t.Bytes()]) }

// Read copies the tensor to dst, which must have its bytes.
func (t Tensor) Read(dst []byte) error { return t.Buf.Read(t.Off, dst[:t.Bytes()]) }

// A Kernel is an operator compiled for fixed specs.
type Kernel interface {
	// Workspace returns the bytes of scratch memory that Enqueue needs.
	Workspace() int
	// Enqueue puts the work in the device's queue and returns. ws has at least
	// Workspace bytes of undefined content. Enqueue allocates nothing.
	Enqueue(in, out []Tensor, ws Tensor) error
}

// A Preparer is a Kernel that can do a part of its work once for many runs, if
// certain inputs never change: the weights of a frozen net, packed as the
// kernel wants them.
type Preparer interface {
	Kernel
	// Prepares returns the inputs that must not change, and the bytes that
	// Prepare fills.
	Prepares() (inputs []int, bytes int)
	// Prepare enqueues that part of the work; kept has the bytes for it.
	Prepare(in []Tensor, kept Tensor) error
	// EnqueuePrepared is Enqueue with what Prepare has left in kept.
	EnqueuePrepared(in, out []Tensor, ws, kept Tensor) error
}

// A Recorder is a Backend that can keep a fixed sequence of enqueued kernels
// and replay it at less cost than enqueueing it again: a command list on the
// CPU, a CUDA graph on a GPU.
type Recorder interface {
	Backend
	// Record calls enqueue, keeps what it enqueues instead of running it, and
	// returns it.
	Record(enqueue func() error) (Recording, error)
}

// A Recording is a sequence of kernels with their tensors fixed.
type Recording interface {
	// Replay enqueues the whole sequence.
	Replay() error
	Close() error
}

// A Pipeliner is a Backend that carries the data of a program's runs to and
// from the device while it computes something else: with it, Program.Start
// returns before the run has ended. Without it a run is over when Start returns.
type Pipeliner interface {
	Backend
	// Stage makes what that takes for a program with these inputs and outputs:
	// host memory for Flights runs. via[i] is memory beside in[i] and as large,
	// each behind the one before, in which the next run's data may wait until
	// the tensors are free.
	Stage(in, via, out []Tensor) (Staging, error)
}

// A Staging carries the inputs and outputs of a program's runs. Slots, from 0 to
// Flights-1, tell the runs that are under way apart. Only Wait and Close wait
// for the device, and nothing but Stage allocates.
type Staging interface {
	// Upload takes the inputs of a slot's run, and sees to it that they are in
	// their tensors before what is enqueued later. src may be changed afterwards.
	Upload(slot int, src [][]byte) error
	// Download enqueues, behind all that was enqueued before, the way of the
	// outputs to the slot's host memory.
	Download(slot int) error
	// Wait waits for the end of the slot's Download. Failures of the device in
	// the meantime surface here.
	Wait(slot int) error
	// Output returns output i in the slot's host memory, where it stays until
	// the slot's next Download.
	Output(slot, i int) []byte
	// Close waits for the end of the copies. It may be called twice.
	Close() error
}

// A Metered backend knows how much memory its device has: errors that wrap
// ErrOutOfMemory can then say how much there was.
type Metered interface {
	Backend
	// Memory returns the bytes that are free, and those that there are.
	Memory() (free, total int, err error)
}

// A MixedPrecision backend may be able to store activations as bfloat16. A
// backend without this method cannot: Compile then refuses such specs with
// ErrUnsupported.
type MixedPrecision interface {
	Backend
	// BFloat16 reports whether Compile accepts bfloat16 activations.
	BFloat16() bool
}

// A Fuser is a Backend that runs some of the planner's fused operators. A
// backend without this method is given the plain ones only.
type Fuser interface {
	Backend
	// Fuses reports whether Compile would accept the fused op for these specs.
	Fuses(op Op, in, out []Spec) bool
}

// CheckSpecs makes sure that op takes these inputs to these outputs: what a
// Backend's Compile asks first.
func CheckSpecs(op Op, in, out []Spec) error {
	want, err := op.Infer(in)
	if err != nil {
		return err
	}
	if len(out) != len(want) {
		return fmt.Errorf("%w: %s has %d outputs, %d given", ErrShape, OpName(op), len(want), len(out))
	}
	for i := range want {
		if !want[i].Equal(out[i]) {
			return fmt.Errorf("%w: output %d of %s is %v, not %v", ErrShape, i, OpName(op), want[i], out[i])
		}
	}
	return nil
}
