//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "driver.h"

#cgo noescape ps_context_adopt
#cgo nocallback ps_context_adopt
#cgo noescape ps_stream_adopt
#cgo nocallback ps_stream_adopt
#cgo noescape ps_memory
#cgo nocallback ps_memory
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// Adopt takes a context (a CUcontext) that other code of the process made through
// the driver: a primary one or one of its own. Close waits for the device and
// frees what was made through this Context, but leaves the context itself to its
// owner, who must not destroy it before. A context may be adopted several times.
//
// Every call makes the context current on the thread that it runs on and leaves
// it so. A goroutine that is locked to a thread and has made another context
// current there does so again after a call of ours.
//
// The driver can refuse a handle of zero, but a number that is no context is as
// dangerous here as it is in C.
func (d *Driver) Adopt(context uintptr) (*Context, error) {
	if context == 0 {
		return nil, errors.New("cuda: cannot adopt a context: its handle is zero")
	}
	if err := d.sameDriver(); err != nil {
		return nil, fmt.Errorf("cuda: cannot adopt a context: %w", err)
	}
	c := &Context{driver: d, things: map[closer]int{}, memory: map[Ptr]int{}}
	var ordinal C.int
	r := C.ps_context_adopt(d.api, C.uintptr_t(context), C.uint64_t(serials.Add(1)), &c.c, &ordinal)
	if r != 0 {
		return nil, fmt.Errorf("cuda: cannot adopt the context %#x: %w", context, d.failure("cuCtxGetDevice", r))
	}
	var err error
	if c.device, err = d.device(int(ordinal)); err != nil {
		C.ps_context_close(c.c)
		return nil, fmt.Errorf("cuda: cannot adopt a context of device %d: %w", ordinal, err)
	}
	return c, nil
}

// sameDriver is nil unless the process is linked with another libcuda than the
// one that was opened: the handles of one mean nothing to the other.
func (d *Driver) sameDriver() error {
	name := C.CString("cuInit")
	defer C.free(unsafe.Pointer(name))
	lib, err := d.library("libcuda")
	if err != nil {
		return err
	}
	ours, err := lib.symbol("cuInit")
	if err != nil {
		return err
	}
	if theirs := C.ps_linked(name); theirs != nil && theirs != ours {
		return fmt.Errorf("this program is linked with another libcuda than %s, which was opened: take its folder out of Options.Search and POTSTILL_CUDA_PATH", lib.path)
	}
	return nil
}

// Handle returns the CUcontext, for other code of the process, zero once the
// Context is closed. One that Open made is good until Close.
func (c *Context) Handle() uintptr {
	if c.c == nil {
		return 0
	}
	C.ps_share()
	return uintptr(c.c.context)
}

// AdoptStream takes a stream (a CUstream) of this context that other code made.
// Its owner may go on to enqueue work there, though not while a capture is under
// way, and destroys it after this Stream is closed; Close leaves it as it is. The
// default streams (0, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD) are refused: work
// in them cannot be captured, or belongs to one thread.
func (c *Context) AdoptStream(stream uintptr) (*Stream, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	if stream <= 2 { // NULL, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD, all numbers rather than addresses
		return nil, errors.New("cuda: cannot adopt a default stream: make one with cuStreamCreate")
	}
	s := &Stream{c: c}
	var owner unsafe.Pointer
	if r := C.ps_stream_adopt(c.c, C.uintptr_t(stream), &owner, &s.s); r != 0 {
		return nil, fmt.Errorf("cuda: cannot adopt the stream %#x: %w", stream, c.result("cuStreamGetCtx", r))
	}
	if s.s == nil {
		return nil, fmt.Errorf("cuda: cannot adopt the stream %#x: it is of the context %#x, not of this one, %#x",
			stream, uintptr(owner), uintptr(c.c.context))
	}
	c.own(s)
	return s, nil
}

// Handle returns the CUstream, for other code of the process, zero once the
// Stream is closed. One that NewStream made is good until Close.
func (s *Stream) Handle() uintptr {
	if s.s == nil {
		return 0
	}
	C.ps_share()
	s.s.lent = 1
	return uintptr(s.s.stream)
}

// CheckMemory returns what is wrong with bytes of device memory at p, which other
// code allocated, nil if kernels of this context can use them: they must lie
// within one allocation, of this context or of none.
func (c *Context) CheckMemory(p Ptr, bytes int) error {
	if err := c.open(); err != nil {
		return err
	}
	if bytes < 0 {
		return fmt.Errorf("cuda: there cannot be %d bytes at %#x", bytes, uint64(p))
	}
	var (
		base  C.uint64_t
		size  C.size_t
		owner unsafe.Pointer
	)
	if r := C.ps_memory(c.c, C.uint64_t(p), &base, &size, &owner); r != 0 {
		return fmt.Errorf("cuda: no device memory is known at %#x: %w", uint64(p), c.result("cuMemGetAddressRange_v2", r))
	}
	if off := uint64(p) - uint64(base); off > uint64(size) || uint64(bytes) > uint64(size)-off {
		return fmt.Errorf("cuda: %d bytes at %#x reach beyond their allocation, of %d bytes at %#x", bytes, uint64(p), uint64(size), uint64(base))
	}
	if owner != nil && owner != c.c.context {
		return fmt.Errorf("cuda: the memory at %#x is of the context %#x, not of this one, %#x", uint64(p), uintptr(owner), uintptr(c.c.context))
	}
	return nil
}
