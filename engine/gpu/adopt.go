package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// Foreign names what other code of the process made through CUDA's driver and a
// backend works in: the other code's memory can then be a backend's tensor, and a
// tensor the other code's memory, without a copy. Nothing of it is destroyed or
// freed by the backend, which must be closed before its owner does so.
type Foreign struct {
	// Context is a CUcontext.
	Context uintptr
	// Stream is a CUstream of that context, in which the backend's work is done
	// in order with the owner's. It must not be a default stream, nor be used by
	// the owner while a program is being compiled, which captures it. Zero: the
	// backend makes a stream, which Stream returns.
	Stream uintptr
}

// adopt takes the context and the stream of Options.Foreign.
func (b *Backend) adopt() error {
	var err error
	if b.ctx, err = b.driver.Adopt(b.options.Foreign.Context); err != nil {
		return b.wrap(err)
	}
	b.options.Device = b.ctx.Device().Index
	if b.options.Foreign.Stream != 0 {
		b.stream, err = b.ctx.AdoptStream(b.options.Foreign.Stream)
		return b.wrap(err)
	}
	if b.stream, err = b.ctx.NewStream(); err != nil {
		return b.wrap(fmt.Errorf("making a stream: %w", err))
	}
	return nil
}

// Context returns the context that the backend works in. It must not be closed.
func (b *Backend) Context() *cuda.Context { return b.ctx }

// Stream returns the stream that the backend works in. It must not be closed,
// nor be used while a method of the backend runs; what is enqueued there is done
// in order with the backend's work.
func (b *Backend) Stream() *cuda.Stream { return b.stream }

// alignment is that of Backend.Alloc's contract, which kernels rely on.
const alignment = 64

// Adopt makes a buffer of device memory that other code allocated: bytes at p, a
// multiple of 64, within one allocation of the backend's context. Closing the
// buffer, or the backend, leaves the memory alone; its owner keeps it until then,
// and sees to it that work of its own in another stream is ordered with the
// backend's, by events.
func (b *Backend) Adopt(p cuda.Ptr, bytes int) (engine.Buffer, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if p%alignment != 0 {
		return nil, fmt.Errorf("adopting memory of %s at %#x: the address must be a multiple of %d", b.Name(), uint64(p), alignment)
	}
	if err := b.ctx.CheckMemory(p, bytes); err != nil {
		return nil, b.wrap(fmt.Errorf("adopting memory of %s: %w", b.Name(), err))
	}
	m := &buffer{backend: b, p: p, bytes: bytes, foreign: true}
	b.live[m] = struct{}{}
	return m, nil
}

// Address returns where a tensor of this backend lies, for other code of the
// process. The address is good until the tensor's buffer is closed; what is there
// is what the backend's stream has come to.
func (b *Backend) Address(t engine.Tensor) (cuda.Ptr, error) {
	p, err := b.address(t, t.Bytes())
	if err != nil {
		return 0, fmt.Errorf("the address of a tensor %v on %s: %w", t.Spec, b.Name(), err)
	}
	return p, nil
}
