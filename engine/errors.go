package engine

import "errors"

// Sentinels that a caller may test for with errors.Is. They arrive wrapped
// with the operator, the shapes and the device concerned.
var (
	// ErrUnsupported is returned at plan time by a backend that cannot run an
	// operator on the given specs. It is never answered by a silent fallback.
	ErrUnsupported = errors.New("not supported")
	// ErrOutOfMemory is returned when a buffer cannot be had.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrNoDevice is returned when the asked-for device is not there.
	ErrNoDevice = errors.New("no such device")
	// ErrShape is returned by an operator whose inputs do not fit together.
	ErrShape = errors.New("shapes do not fit")
)
