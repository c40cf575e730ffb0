//go:build linux && cgo

package cuda

/*
#include "driver.h"

#cgo noescape ps_event_open
#cgo nocallback ps_event_open
#cgo noescape ps_event_since
#cgo nocallback ps_event_since
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"
)

// An Event marks a point in a stream.
type Event struct {
	c     *Context
	event unsafe.Pointer
}

// Waiting is by spinning, unless an event asks for more: what is waited for, an
// end of a copy or of a kernel that is timed, is mostly a few microseconds off,
// and to sleep and be woken by the device's interrupt takes some tens. The context's
// own flags (CU_CTX_SCHED_BLOCKING_SYNC and its like) are left alone: they would
// hold for every wait, and the primary context is shared with other libraries of
// the process. What waits for whole steps asks for an event that blocks.
const (
	eventBlocks  = 1 // CU_EVENT_BLOCKING_SYNC
	eventUntimed = 2 // CU_EVENT_DISABLE_TIMING
)

// NewEvent makes an event that records the time. Sync spins.
func (c *Context) NewEvent() (*Event, error) { return c.newEvent(0) }

// NewOrderEvent makes an event that records no time, so that recording it costs
// less: one for Stream.Wait. Sync spins, Since fails.
func (c *Context) NewOrderEvent() (*Event, error) { return c.newEvent(eventUntimed) }

// NewBlockingEvent makes an event whose Sync sleeps until the device wakes it,
// which leaves the core to others and should take longer than spinning does (no
// card has been asked how much). It records no time; Since fails.
func (c *Context) NewBlockingEvent() (*Event, error) { return c.newEvent(eventBlocks | eventUntimed) }

func (c *Context) newEvent(flags C.uint) (*Event, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	e := &Event{c: c}
	if r := C.ps_event_open(c.c, flags, &e.event); r != 0 {
		return nil, c.result("cuEventCreate", r)
	}
	c.own(e)
	return e, nil
}

func (e *Event) open() error {
	if e.event == nil {
		return fmt.Errorf("cuda: the event %w", errClosed)
	}
	return nil
}

// Sync waits for what was recorded last.
func (e *Event) Sync() error {
	if err := e.open(); err != nil {
		return err
	}
	return e.c.result("cuEventSynchronize", C.ps_event_sync(e.c.c, e.event))
}

// Done reports, without waiting, whether the device has come to what was
// recorded last.
func (e *Event) Done() (bool, error) {
	if err := e.open(); err != nil {
		return false, err
	}
	r := C.ps_event_query(e.c.c, e.event)
	if r == 600 { // CUDA_ERROR_NOT_READY
		return false, nil
	}
	return r == 0, e.c.result("cuEventQuery", r)
}

// Since returns the time that passed on the device from an earlier event to
// this one, to half a microsecond. Both must be NewEvent's, recorded and done.
func (e *Event) Since(earlier *Event) (time.Duration, error) {
	if err := e.open(); err != nil {
		return 0, err
	}
	if err := earlier.open(); err != nil {
		return 0, err
	}
	var ms C.float
	if r := C.ps_event_since(e.c.c, earlier.event, e.event, &ms); r != 0 {
		return 0, e.c.result("cuEventElapsedTime", r)
	}
	return time.Duration(float64(ms) * float64(time.Millisecond)), nil
}

// Close destroys the event.
func (e *Event) Close() error {
	if e.event == nil {
		return nil
	}
	p := e.event
	e.event = nil
	e.c.disown(e)
	return e.c.result("cuEventDestroy_v2", C.ps_event_close(e.c.c, p))
}
