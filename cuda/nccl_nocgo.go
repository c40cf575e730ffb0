//go:build !linux || !cgo

package cuda

// A Comm is this process's place among ranks that exchange through NCCL; this build
// has none.
type Comm struct{}

// NCCL returns Load's error.
func (c *Context) NCCL() (version string, err error) { return "", errNoCgo }

// NewCommID returns Load's error.
func (c *Context) NewCommID() (id CommID, err error) { return id, errNoCgo }

// NewComm returns Load's error.
func (c *Context) NewComm(id CommID, rank, size int) (*Comm, error) { return nil, errNoCgo }

// Rank returns 0.
func (m *Comm) Rank() int { return 0 }

// Size returns 0.
func (m *Comm) Size() int { return 0 }

// Version returns nothing.
func (m *Comm) Version() string { return "" }

// Library returns nothing.
func (m *Comm) Library() string { return "" }

// AllGather returns Load's error.
func (m *Comm) AllGather(s *Stream, out, in Ptr, n int) error { return errNoCgo }

// AllToAll returns Load's error.
func (m *Comm) AllToAll(s *Stream, out, in Ptr, n int) error { return errNoCgo }

// Failed returns Load's error.
func (m *Comm) Failed() error { return errNoCgo }

// Abort does nothing.
func (m *Comm) Abort() error { return nil }

// Close does nothing.
func (m *Comm) Close() error { return nil }
