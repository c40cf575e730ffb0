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

// NewEvent makes an event that records the time.
func (c *Context) NewEvent() (*Event, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	e := &Event{c: c}
	if r := C.ps_event_open(c.c, &e.event); r != 0 {
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
// this one, to half a microsecond. Both must have been recorded and be done.
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
