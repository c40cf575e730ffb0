package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A loan is memory of the caller's. It stays where it is, though a command list, which the
// garbage collector does not see, points to it.
type loan struct {
	buffer
	pinner runtime.Pinner
}

// NewLoan implements engine.Lender. In plain Go, to enqueue a step anew would allocate its
// arguments, and so there are none.
func (b *Backend) NewLoan() engine.Loan {
	if !compiled {
		return nil
	}
	return &loan{buffer: buffer{backend: b}}
}

// Take implements engine.Loan: kernels read elements that are aligned.
func (l *loan) Take(data []byte, element int) bool {
	p := unsafe.Pointer(unsafe.SliceData(data))
	if len(data) == 0 || uintptr(p)%uintptr(element) != 0 {
		return false
	}
	l.pinner.Pin(p)
	l.p, l.bytes = p, len(data)
	return true
}

// Return implements engine.Loan.
func (l *loan) Return() {
	if l.p != nil {
		l.pinner.Unpin()
		l.p, l.bytes = nil, 0
	}
}

// Write implements engine.Buffer.
func (l *loan) Write(int, []byte) error {
	return fmt.Errorf("cpu: writing to the caller's memory: %w", errors.ErrUnsupported)
}

// Close implements engine.Buffer.
func (l *loan) Close() error {
	l.Return()
	return nil
}
