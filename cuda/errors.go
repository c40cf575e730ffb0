package cuda

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotFound is returned, wrapped, when a library cannot be found or
	// opened, and by a build that cannot open any.
	ErrNotFound = errors.New("not found")
	// ErrOutOfMemory is what errors.Is finds in an Error whose code says that
	// memory of the device, or pinned memory, has run out.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrNotSupported is what errors.Is finds in an Error whose code says that
	// cuDNN or cuBLASLt does not do such a product.
	ErrNotSupported = errors.New("not supported")
)

// errClosed is returned by the methods of what was closed.
var errClosed = errors.New("is closed")

// An Error is a call into one of the libraries that failed.
type Error struct {
	Call   string // the C function: "cuMemAlloc_v2"
	Code   string // the name of what it returned: "CUDA_ERROR_OUT_OF_MEMORY"
	Number int    // its number
	Detail string // the library's own words, or better ones
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s (%d)", e.Call, e.Code, e.Number)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is reports whether target is ErrOutOfMemory or ErrNotSupported and the code
// says so.
func (e *Error) Is(target error) bool {
	if target == ErrNotSupported {
		return strings.HasPrefix(e.Code, "CUDNN_STATUS_NOT_SUPPORTED") || e.Code == "CUBLAS_STATUS_NOT_SUPPORTED"
	}
	if target != ErrOutOfMemory {
		return false
	}
	switch e.Code {
	case "CUDA_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_OUT_OF_MEMORY",
		"CUDNN_STATUS_ALLOC_FAILED", "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "CUBLAS_STATUS_ALLOC_FAILED":
		return true
	}
	return false
}
