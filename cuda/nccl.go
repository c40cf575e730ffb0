//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "nccl.h"

#cgo noescape ps_nccl_bind
#cgo nocallback ps_nccl_bind
#cgo nocallback ps_nccl_gather
#cgo nocallback ps_nccl_exchange
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Comm is one rank of a communicator of NCCL, whose ranks have a device each. It and the
// streams that it is given must be used by one goroutine at a time, except for Failed and
// Abort. All ranks must enqueue the same exchanges in the same order, and launch the graphs that
// they have captured in the same order.
type Comm struct {
	context    *Context
	lib        *library
	rank, size int

	c    *C.struct_nccl
	gone atomic.Bool // aborted
	mu   sync.Mutex  // of Failed, Abort and Close; what enqueues may be stuck, and an abort frees it
}

// oldestNCCL is the first version whose exchanges can be captured, 2.9.
const oldestNCCL = 20900

// bindNCCL opens the library for the context's device.
func (c *Context) bindNCCL() (*library, *C.struct_nccl, error) {
	if err := c.open(); err != nil {
		return nil, nil, err
	}
	lib, err := c.library("libnccl")
	if err != nil {
		return nil, nil, fmt.Errorf("cuda: %w", err)
	}
	if lib.number < oldestNCCL {
		return nil, nil, fmt.Errorf("cuda: %s is NCCL %s, 2.9 is needed: %s", lib.path, lib.version, lib.fix(lib.major))
	}
	n := (*C.struct_nccl)(C.calloc(1, C.sizeof_struct_nccl))
	if n == nil {
		return nil, nil, fmt.Errorf("cuda: NCCL: %w", ErrOutOfMemory)
	}
	n.context = c.c
	if missing := C.ps_nccl_bind(&n.api, lib.handle); missing != nil {
		C.free(unsafe.Pointer(n))
		return nil, nil, fmt.Errorf("cuda: %s has no %s: %s", lib.path, C.GoString(missing), lib.fix(lib.major))
	}
	return lib, n, nil
}

// NCCL opens NCCL and returns its version. The error, one line, says what was looked
// for, where, and what to install; it wraps ErrNotFound if the library is not there.
func (c *Context) NCCL() (version string, err error) {
	lib, n, err := c.bindNCCL()
	if err != nil {
		return "", err
	}
	C.free(unsafe.Pointer(n))
	return lib.version, nil
}

// NewCommID makes the id of a new communicator: one rank calls it, and passes the id to the others.
func (c *Context) NewCommID() (id CommID, err error) {
	_, n, err := c.bindNCCL()
	if err != nil {
		return id, err
	}
	defer C.free(unsafe.Pointer(n))
	if r := C.ps_nccl_id(n, (*C.nccl_id)(unsafe.Pointer(&id))); r != 0 {
		return id, fmt.Errorf("cuda: NCCL: %w", c.libraryError(&n.failure))
	}
	return id, nil
}

// NewComm joins a communicator as one of size ranks, each with a device of its own. It waits for
// all of them.
func (c *Context) NewComm(id CommID, rank, size int) (*Comm, error) {
	if size < 1 || rank < 0 || rank >= size {
		return nil, fmt.Errorf("cuda: NCCL: rank %d of %d makes no sense", rank, size)
	}
	lib, n, err := c.bindNCCL()
	if err != nil {
		return nil, err
	}
	if r := C.ps_nccl_open(n, (*C.nccl_id)(unsafe.Pointer(&id)), C.int(rank), C.int(size)); r != 0 {
		err := c.libraryError(&n.failure)
		C.free(unsafe.Pointer(n))
		return nil, fmt.Errorf("cuda: %s: rank %d of %d: %w", lib.path, rank, size, err)
	}
	c.driver.log.Debug("cuda: NCCL opened", "path", lib.path, "version", lib.version)
	m := &Comm{context: c, lib: lib, rank: rank, size: size, c: n}
	c.own(m)
	return m, nil
}

// Rank is the number of this process.
func (m *Comm) Rank() int { return m.rank }

// Size is how many there are.
func (m *Comm) Size() int { return m.size }

// Version returns the library's version: "2.30.7".
func (m *Comm) Version() string { return m.lib.version }

// Library returns the path of the library's file.
func (m *Comm) Library() string { return m.lib.path }

// errAborted is returned by exchanges after Abort.
var errAborted = errors.New("cuda: NCCL: the communicator was aborted")

// usable returns why nothing can be enqueued in s, nil if it can.
func (m *Comm) usable(s *Stream) error {
	switch {
	case m.gone.Load():
		return errAborted
	case m.c == nil:
		return fmt.Errorf("cuda: NCCL's communicator %w", errClosed)
	case s.c != m.context:
		return errors.New("cuda: NCCL: the stream is another context's")
	}
	return s.open()
}

func (m *Comm) failure(r C.int) error {
	if r == 0 {
		return nil
	}
	return fmt.Errorf("cuda: NCCL: %w", m.context.libraryError(&m.c.failure))
}

// AllGather enqueues a copy of the n floats at in of every rank to out, in the order of the
// ranks. In place, in is rank·n floats behind out. It allocates nothing.
func (m *Comm) AllGather(s *Stream, out, in Ptr, n int) error {
	if err := m.usable(s); err != nil {
		return err
	}
	return m.failure(C.ps_nccl_gather(m.c, C.nccl_stream(s.lend()), C.uint64_t(in), C.uint64_t(out), C.size_t(n)))
}

// AllToAll enqueues an exchange in which every rank sends the n floats at in + r·n to rank r, and
// gets at out, in the order of the ranks, what they have sent to it. It allocates nothing.
func (m *Comm) AllToAll(s *Stream, out, in Ptr, n int) error {
	if err := m.usable(s); err != nil {
		return err
	}
	return m.failure(C.ps_nccl_exchange(m.c, C.nccl_stream(s.lend()), C.uint64_t(in), C.uint64_t(out), C.size_t(n)))
}

// Failed returns the communicator's asynchronous error, nil if there is none. NCCL may not notice
// that a rank has died: then the others wait until Abort. Any goroutine may call it.
func (m *Comm) Failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone.Load() || m.c == nil {
		return nil
	}
	var f C.ps_failure
	if C.ps_nccl_error(m.c, &f) == 0 {
		return nil
	}
	return fmt.Errorf("cuda: NCCL: %w", m.context.libraryError(&f))
}

// Abort ends all exchanges that are under way, whatever has become of the other ranks; what
// they were to fill is undefined. Nothing can be enqueued any more. Any goroutine may call it.
func (m *Comm) Abort() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone.Load() || m.c == nil {
		return nil
	}
	m.gone.Store(true)
	var f C.ps_failure
	if C.ps_nccl_abort(m.c, &f) == 0 {
		return nil
	}
	return fmt.Errorf("cuda: NCCL: %w", m.context.libraryError(&f))
}

// Close leaves the communicator. The work must have ended, and what was captured of it
// must be closed.
func (m *Comm) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.c == nil {
		return nil
	}
	err := m.failure(C.ps_nccl_close(m.c))
	C.free(unsafe.Pointer(m.c))
	m.c = nil
	m.context.disown(m)
	return err
}
