//go:build !linux || !cgo

package cuda

// Adopt returns Load's error.
func (d *Driver) Adopt(context uintptr) (*Context, error) { return nil, errNoCgo }

// Handle returns zero.
func (c *Context) Handle() uintptr { return 0 }

// AdoptStream returns Load's error.
func (c *Context) AdoptStream(stream uintptr) (*Stream, error) { return nil, errNoCgo }

// Handle returns zero.
func (s *Stream) Handle() uintptr { return 0 }

// CheckMemory returns Load's error.
func (c *Context) CheckMemory(p Ptr, bytes int) error { return errNoCgo }
