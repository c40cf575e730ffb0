//go:build linux && cgo

package cuda

/*
#include "driver.h"

#cgo noescape ps_context_open
#cgo nocallback ps_context_open
#cgo noescape ps_alloc
#cgo nocallback ps_alloc
#cgo noescape ps_alloc_host
#cgo nocallback ps_alloc_host
#cgo noescape ps_mem_info
#cgo nocallback ps_mem_info
*/
import "C"

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// serials numbers the contexts of the process. 0 is none.
var serials atomic.Uint64

// A Context is a device's primary context, retained, or one that another library
// made (Driver.Adopt). Its methods may be called by several goroutines, but none
// while Close runs.
type Context struct {
	driver *Driver
	device Device
	c      *C.ps_context

	mu     sync.Mutex
	made   int
	things map[closer]int // what Close closes, by the order in which it was made
	memory map[Ptr]int    // what Free frees, with its bytes
}

type closer interface{ Close() error }

// Open retains the primary context of a device.
func (d *Driver) Open(device int) (*Context, error) {
	if err := d.checkDevice(device); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	info, err := d.device(device)
	if err != nil {
		return nil, fmt.Errorf("cuda: device %d: %w", device, err)
	}
	c := &Context{driver: d, device: info, things: map[closer]int{}, memory: map[Ptr]int{}}
	if r := C.ps_context_open(d.api, C.int(device), C.uint64_t(serials.Add(1)), &c.c); r != 0 {
		return nil, fmt.Errorf("cuda: device %d, %s: %w", device, info.Name, d.failure("cuDevicePrimaryCtxRetain", r))
	}
	return c, nil
}

// Device describes the context's device.
func (c *Context) Device() Device { return c.device }

// Driver returns the driver that opened the context.
func (c *Context) Driver() *Driver { return c.driver }

// own has Close close a thing, before all that was made earlier.
func (c *Context) own(t closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	c.things[t] = c.made
}

// disown is for a thing that closes itself.
func (c *Context) disown(t closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.things, t)
}

// open is nil unless the context was closed.
func (c *Context) open() error {
	if c.c == nil {
		return fmt.Errorf("cuda: the context of device %d %w", c.device.Index, errClosed)
	}
	return nil
}

func (c *Context) result(call string, r C.int) error { return c.driver.result(call, r) }

// Sync waits for all that was enqueued in every stream of the device's context.
func (c *Context) Sync() error {
	if err := c.open(); err != nil {
		return err
	}
	return c.result("cuCtxSynchronize", C.ps_context_sync(c.c))
}

// Close waits for the device, closes what the context made, the youngest first,
// frees its memory and releases it. The error is the first of what failed.
func (c *Context) Close() error {
	if c.c == nil {
		return nil
	}
	first := c.Sync()
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	c.mu.Lock()
	things := slices.SortedFunc(maps.Keys(c.things), func(a, b closer) int {
		return cmp.Compare(c.things[b], c.things[a])
	})
	memory := slices.Sorted(maps.Keys(c.memory))
	c.mu.Unlock()
	for _, t := range things {
		keep(t.Close())
	}
	for _, p := range memory {
		keep(c.Free(p))
	}
	keep(c.result("cuDevicePrimaryCtxRelease_v2", C.ps_context_close(c.c)))
	c.c = nil
	return first
}

// Alloc allocates device memory, aligned to 256 bytes at least. What it holds
// is undefined. No bytes are address 0. Where memory runs out, the error says
// how much is free, and errors.Is finds ErrOutOfMemory in it.
func (c *Context) Alloc(bytes int) (Ptr, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	if bytes <= 0 {
		if bytes < 0 {
			return 0, fmt.Errorf("cuda: cannot allocate %d bytes", bytes)
		}
		return 0, nil
	}
	var p C.uint64_t
	if r := C.ps_alloc(c.c, C.size_t(bytes), &p); r != 0 {
		return 0, c.short("cuMemAlloc_v2", r, bytes)
	}
	c.mu.Lock()
	c.memory[Ptr(p)] = bytes
	c.mu.Unlock()
	return Ptr(p), nil
}

// short is the error of an allocation.
func (c *Context) short(call string, r C.int, bytes int) error {
	err := c.result(call, r)
	var e *Error
	if errors.As(err, &e) && errors.Is(err, ErrOutOfMemory) {
		e.Detail = fmt.Sprintf("%s for %s", e.Detail, size(bytes))
		if free, total, err := c.MemInfo(); err == nil {
			e.Detail += fmt.Sprintf(", %s of %s are free", size(free), size(total))
		}
	}
	return err
}

// size is a number of bytes for a person.
func size(bytes int) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// Free frees what Alloc returned. The address 0 is no error, another that Alloc
// did not return, or that was freed, is one.
func (c *Context) Free(p Ptr) error {
	if p == 0 {
		return nil
	}
	if err := c.open(); err != nil {
		return err
	}
	c.mu.Lock()
	_, ok := c.memory[p]
	delete(c.memory, p)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("cuda: cannot free %#x: nothing is allocated there", uint64(p))
	}
	return c.result("cuMemFree_v2", C.ps_free(c.c, C.uint64_t(p)))
}

// MemInfo returns the bytes of the device's memory that are free, for every
// process on it, and those that there are.
func (c *Context) MemInfo() (free, total int, err error) {
	if err := c.open(); err != nil {
		return 0, 0, err
	}
	var f, t C.size_t
	if r := C.ps_mem_info(c.c, &f, &t); r != 0 {
		return 0, 0, c.result("cuMemGetInfo_v2", r)
	}
	return int(f), int(t), nil
}

// A Host is memory of the host that the device reads and writes itself.
type Host struct {
	c     *Context
	p     unsafe.Pointer
	bytes int
}

// AllocHost allocates pinned memory.
func (c *Context) AllocHost(bytes int) (*Host, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: cannot allocate %d bytes of pinned memory", bytes)
	}
	h := &Host{c: c, bytes: bytes}
	if r := C.ps_alloc_host(c.c, C.size_t(bytes), &h.p); r != 0 {
		err := c.result("cuMemHostAlloc", r)
		var e *Error
		if errors.As(err, &e) {
			e.Detail = fmt.Sprintf("%s: %s of pinned memory", e.Detail, size(bytes))
		}
		return nil, err
	}
	c.own(h)
	return h, nil
}

// Bytes returns the memory itself. It must not be used after Close, nor read or
// written while a copy that was enqueued with it may run.
func (h *Host) Bytes() []byte {
	if h.p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(h.p), h.bytes)
}

// at returns the address of n bytes from off.
func (h *Host) at(off, n int) (unsafe.Pointer, error) {
	if h.p == nil {
		return nil, fmt.Errorf("cuda: the pinned memory %w", errClosed)
	}
	if off < 0 || n < 0 || off > h.bytes-n {
		return nil, fmt.Errorf("cuda: %d bytes at %d are outside of %d bytes of pinned memory", n, off, h.bytes)
	}
	return unsafe.Add(h.p, off), nil
}

// Close frees the memory. No copy with it may be under way.
func (h *Host) Close() error {
	if h.p == nil {
		return nil
	}
	p := h.p
	h.p = nil
	h.c.disown(h)
	return h.c.result("cuMemFreeHost", C.ps_free_host(h.c.c, p))
}
