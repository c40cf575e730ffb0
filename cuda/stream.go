//go:build linux && cgo

package cuda

/*
#include "driver.h"

#cgo noescape ps_stream_open
#cgo nocallback ps_stream_open
#cgo nocallback ps_launch
#cgo nocallback ps_graph_launch
*/
import "C"

import (
	"fmt"
	"math"
	"unsafe"
)

// staging is the size of each of the two halves of a stream's pinned buffer,
// through which Write and Read go: one is filled while the other is copied.
const staging = 4 << 20

// A Stream is a queue of work that the device does in order. One goroutine uses
// it at a time.
type Stream struct {
	c         *Context
	s         *C.ps_stream
	host      *Host // two halves of staging bytes, made at first use
	half      [2]*Event
	capturing bool
}

// NewStream makes a stream. It is not ordered with other streams, nor with the
// legacy default stream.
func (c *Context) NewStream() (*Stream, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	s := &Stream{c: c}
	if r := C.ps_stream_open(c.c, &s.s); r != 0 {
		return nil, c.result("cuStreamCreate", r)
	}
	c.own(s)
	return s, nil
}

// Context returns the context that made the stream.
func (s *Stream) Context() *Context { return s.c }

// open is nil unless the stream was closed.
func (s *Stream) open() error {
	if s.s == nil {
		return fmt.Errorf("cuda: the stream %w", errClosed)
	}
	return nil
}

// Launch enqueues a kernel: grid blocks of block threads, with shared bytes of
// dynamic shared memory a block. args points to the kernel's only parameter, a
// struct of bytes bytes as C lays it out; it is copied before Launch returns.
// It is one call into C and allocates nothing.
//
// A kernel of which Function.Overlap was called may begin before the one that was
// enqueued just before it has ended.
func (s *Stream) Launch(f *Function, grid, block [3]int, shared int, args unsafe.Pointer, bytes int) error {
	if s.s == nil {
		return s.open()
	}
	if f.m.module == nil || f.m.c != s.c {
		return f.unusable(s)
	}
	if bytes < 0 || bytes > C.PS_ARGS_MAX || args == nil && bytes > 0 {
		return fmt.Errorf("cuda: kernel %s: %d bytes of parameters, at most %d can be given", f.name, bytes, C.PS_ARGS_MAX)
	}
	for i := range 3 {
		if grid[i] < 1 || grid[i] > math.MaxInt32 || block[i] < 1 || block[i] > math.MaxInt32 {
			return fmt.Errorf("cuda: kernel %s: cannot launch %d blocks of %d threads", f.name, grid, block)
		}
	}
	if shared < 0 || shared > math.MaxInt32 {
		return fmt.Errorf("cuda: kernel %s: cannot have %d bytes of shared memory", f.name, shared)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.s.args[0])), bytes), unsafe.Slice((*byte)(args), bytes))
	s.s.size = C.size_t(bytes)
	r := C.ps_launch(s.s, f.function, C.uint(grid[0]), C.uint(grid[1]), C.uint(grid[2]),
		C.uint(block[0]), C.uint(block[1]), C.uint(block[2]), C.uint(shared), truth(f.waits))
	if r != 0 {
		return f.refused(r, grid, block, shared, bytes)
	}
	return nil
}

// lend returns the driver's handle to a library, which may enqueue something.
func (s *Stream) lend() unsafe.Pointer {
	s.s.kernel = 0
	return s.s.stream
}

// Sync waits until the device has done all that was enqueued. An error of an
// earlier kernel may come out here.
func (s *Stream) Sync() error {
	if s.s == nil {
		return s.open()
	}
	return s.c.result("cuStreamSynchronize", C.ps_stream_sync(s.s))
}

// WriteAsync enqueues a copy of n bytes at off in pinned memory to the device.
func (s *Stream) WriteAsync(dst Ptr, h *Host, off, n int) error {
	p, err := s.pinned(h, off, n)
	if err != nil || n == 0 {
		return err
	}
	return s.c.result("cuMemcpyHtoDAsync_v2", C.ps_stream_write(s.s, C.uint64_t(dst), p, C.size_t(n)))
}

// ReadAsync enqueues a copy of n bytes from the device to off in pinned memory.
func (s *Stream) ReadAsync(h *Host, off, n int, src Ptr) error {
	p, err := s.pinned(h, off, n)
	if err != nil || n == 0 {
		return err
	}
	return s.c.result("cuMemcpyDtoHAsync_v2", C.ps_stream_read(s.s, p, C.uint64_t(src), C.size_t(n)))
}

func (s *Stream) pinned(h *Host, off, n int) (unsafe.Pointer, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return h.at(off, n)
}

// Copy enqueues a copy of n bytes within the device. The two must not overlap.
func (s *Stream) Copy(dst, src Ptr, n int) error {
	if s.s == nil || n <= 0 {
		return s.nothing(n)
	}
	return s.c.result("cuMemcpyDtoDAsync_v2", C.ps_stream_copy(s.s, C.uint64_t(dst), C.uint64_t(src), C.size_t(n)))
}

// Fill enqueues the setting of n bytes to value.
func (s *Stream) Fill(dst Ptr, value byte, n int) error {
	if s.s == nil || n <= 0 {
		return s.nothing(n)
	}
	return s.c.result("cuMemsetD8Async", C.ps_stream_fill(s.s, C.uint64_t(dst), C.uchar(value), C.size_t(n)))
}

func (s *Stream) nothing(n int) error {
	if n < 0 {
		return fmt.Errorf("cuda: cannot copy or fill %d bytes", n)
	}
	return s.open()
}

// Write copies src to the device after what was enqueued before, and returns
// when it is there. It cannot be captured.
func (s *Stream) Write(dst Ptr, src []byte) error {
	if len(src) == 0 {
		return s.open()
	}
	if err := s.stage("Write"); err != nil {
		return err
	}
	err := s.write(dst, src)
	return s.drain(err)
}

func (s *Stream) write(dst Ptr, src []byte) error {
	buf := s.host.Bytes()
	for i, off := 0, 0; off < len(src); i, off = i+1, off+staging {
		h := i % 2
		if i >= 2 {
			if err := s.half[h].Sync(); err != nil {
				return err
			}
		}
		n := copy(buf[h*staging:(h+1)*staging], src[off:])
		if err := s.WriteAsync(dst+Ptr(off), s.host, h*staging, n); err != nil {
			return err
		}
		if off+n < len(src) {
			if err := s.Record(s.half[h]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Read copies len(dst) bytes from the device, after what was enqueued before,
// and returns when they are there. It cannot be captured.
func (s *Stream) Read(dst []byte, src Ptr) error {
	if len(dst) == 0 {
		return s.open()
	}
	if err := s.stage("Read"); err != nil {
		return err
	}
	err := s.read(dst, src)
	return s.drain(err)
}

func (s *Stream) read(dst []byte, src Ptr) error {
	buf := s.host.Bytes()
	chunks := (len(dst) + staging - 1) / staging
	for i := range chunks + 1 { // chunk i is copied while chunk i-1 is taken out
		if i < chunks {
			h, off := i%2, i*staging
			if err := s.ReadAsync(s.host, h*staging, min(staging, len(dst)-off), src+Ptr(off)); err != nil {
				return err
			}
			if err := s.Record(s.half[h]); err != nil {
				return err
			}
		}
		if i > 0 {
			h, off := (i-1)%2, (i-1)*staging
			if err := s.half[h].Sync(); err != nil {
				return err
			}
			copy(dst[off:], buf[h*staging:(h+1)*staging])
		}
	}
	return nil
}

// stage makes the pinned buffer, if it is not there.
func (s *Stream) stage(method string) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.capturing {
		return fmt.Errorf("cuda: %s waits for the device, which a stream that is captured cannot do", method)
	}
	if s.host != nil && s.host.p != nil {
		return nil
	}
	for i := range s.half {
		if s.half[i] == nil {
			e, err := s.c.NewOrderEvent()
			if err != nil {
				return err
			}
			s.half[i] = e
		}
	}
	h, err := s.c.AllocHost(2 * staging)
	if err != nil {
		return err
	}
	s.host = h
	return nil
}

// drain waits for the copies from and to the buffer, whatever came of them.
func (s *Stream) drain(err error) error {
	if last := s.Sync(); err == nil {
		err = last
	}
	return err
}

// Record enqueues the recording of an event.
func (s *Stream) Record(e *Event) error {
	if s.s == nil || e.event == nil {
		return s.closed(e)
	}
	return s.c.result("cuEventRecord", C.ps_stream_record(s.s, e.event))
}

// Wait has what is enqueued later wait for what an event recorded last.
func (s *Stream) Wait(e *Event) error {
	if s.s == nil || e.event == nil {
		return s.closed(e)
	}
	return s.c.result("cuStreamWaitEvent", C.ps_stream_wait(s.s, e.event))
}

func (s *Stream) closed(e *Event) error {
	if err := s.open(); err != nil {
		return err
	}
	return e.open()
}

// Close destroys the stream. Work that is under way ends on its own.
func (s *Stream) Close() error {
	if s.s == nil {
		return nil
	}
	var first error
	if s.host != nil { // Write and Read have waited for what they enqueued
		first = s.host.Close()
	}
	for _, e := range s.half {
		if e != nil {
			if err := e.Close(); first == nil {
				first = err
			}
		}
	}
	p := s.s
	s.s, s.host, s.capturing = nil, nil, false
	s.c.disown(s)
	if r := C.ps_stream_close(p); r != 0 && first == nil {
		first = s.c.result("cuStreamDestroy_v2", r)
	}
	return first
}
