package door

import (
	"fmt"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"

	"gorgonia.org/cu"
)

// A cu.CUContext and a cu.Stream are a handle each and have no constructors. These
// do not compile if there is ever more in them.
var (
	_ [unsafe.Sizeof(uintptr(0))]struct{} = [unsafe.Sizeof(cu.CUContext{})]struct{}{}
	_ [unsafe.Sizeof(uintptr(0))]struct{} = [unsafe.Sizeof(cu.Stream{})]struct{}{}
	_ [8]struct{}                         = [unsafe.Sizeof(cu.DevicePtr(0))]struct{}{}
)

func contextHandle(c cu.CUContext) uintptr { return *(*uintptr)(unsafe.Pointer(&c)) }

func streamHandle(s cu.Stream) uintptr { return uintptr(unsafe.Pointer(s.C())) }

// Backend makes a backend that works in a context and a stream of cu's, which
// stay the caller's. cu.NoStream has it make a stream. Options.Foreign is set here
// and Options.Device found from the context; the other options are as in gpu.New.
func Backend(ctx cu.CUContext, stream cu.Stream, o gpu.Options) (*gpu.Backend, error) {
	o.Foreign = &gpu.Foreign{Context: contextHandle(ctx), Stream: streamHandle(stream)}
	b, err := gpu.New(o)
	if err != nil {
		return nil, fmt.Errorf("a backend in a context of gorgonia.org/cu: %w", err)
	}
	return b, nil
}

// Buffer makes a backend's buffer of device memory of cu's: bytes at p, a multiple
// of 64, within one allocation of the backend's context. Closing the buffer does not
// free the memory.
func Buffer(b *gpu.Backend, p cu.DevicePtr, bytes int64) (engine.Buffer, error) {
	return b.Adopt(cuda.Ptr(p), int(bytes))
}

// Address returns where a tensor of the backend lies. The address is good until
// the tensor's buffer is closed.
func Address(b *gpu.Backend, t engine.Tensor) (cu.DevicePtr, error) {
	p, err := b.Address(t)
	return cu.DevicePtr(p), err
}

// AdoptContext takes a context of cu's for package cuda. Closing it leaves cu's as
// it is.
func AdoptContext(d *cuda.Driver, ctx cu.CUContext) (*cuda.Context, error) {
	return d.Adopt(contextHandle(ctx))
}

// AdoptStream takes a stream of cu's, of the same context, for package cuda.
// Closing it leaves cu's as it is. cu.NoStream is refused.
func AdoptStream(c *cuda.Context, s cu.Stream) (*cuda.Stream, error) {
	return c.AdoptStream(streamHandle(s))
}

// Context returns a context of package cuda as one of cu's, which must not be
// destroyed; it is the zero CUContext once c is closed. Of a backend, c is
// gpu.Backend.Context.
func Context(c *cuda.Context) cu.CUContext {
	h := c.Handle()
	return *(*cu.CUContext)(unsafe.Pointer(&h))
}

// Stream returns a stream of package cuda as one of cu's, which must not be
// destroyed; it is cu.NoStream once s is closed. Of a backend, s is
// gpu.Backend.Stream.
func Stream(s *cuda.Stream) cu.Stream {
	h := s.Handle()
	return *(*cu.Stream)(unsafe.Pointer(&h))
}
