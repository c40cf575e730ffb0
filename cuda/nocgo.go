//go:build !linux || !cgo

package cuda

import (
	"context"
	"fmt"
	"time"
	"unsafe"
)

// errNoCgo is what Load returns in a build that cannot open libraries.
var errNoCgo = fmt.Errorf("cuda: built without cgo, or for another system than Linux, so no CUDA library can be opened: %w", ErrNotFound)

// This build has no driver: Load fails, so nothing below is ever called on
// something that Load led to. The methods are there for callers to compile.
type (
	// A Driver is NVIDIA's driver, open, with the libraries around it.
	Driver struct{}
	// A Context is a device's primary context, retained.
	Context struct{}
	// A Host is memory of the host that the device reads and writes itself.
	Host struct{}
	// A Module is compiled kernels on the device.
	Module struct{}
	// A Function is a kernel of a module.
	Function struct{}
	// A Stream is a queue of work that the device does in order.
	Stream struct{}
	// An Event marks a point in a stream.
	Event struct{}
	// A Graph is work that was captured from a stream.
	Graph struct{}
)

// Load returns an error that wraps ErrNotFound: this build has no cgo.
func Load(o Options) (*Driver, error) { return nil, errNoCgo }

// Precompile returns Load's error.
func Precompile(ctx context.Context, o Options, arch int, sources []Source) (compiled, kept int, err error) {
	return 0, 0, errNoCgo
}

// Libraries says of each library that this build cannot open it.
func Libraries(o Options) []Library {
	var all []Library
	for _, k := range knowns(0) {
		all = append(all, Library{Name: k.name, Err: errNoCgo, Fix: "build with CGO_ENABLED=1 and a C compiler, on Linux"})
	}
	return all
}

// Libraries says of each library that this build cannot open it.
func (d *Driver) Libraries() []Library { return Libraries(Options{}) }

// Version returns 0.
func (d *Driver) Version() int { return 0 }

// Devices returns Load's error.
func (d *Driver) Devices() ([]Device, error) { return nil, errNoCgo }

// Open returns Load's error.
func (d *Driver) Open(device int) (*Context, error) { return nil, errNoCgo }

// Device returns no device.
func (c *Context) Device() Device { return Device{} }

// Driver returns the driver that opened the context.
func (c *Context) Driver() *Driver { return nil }

// Sync returns Load's error.
func (c *Context) Sync() error { return errNoCgo }

// Close does nothing.
func (c *Context) Close() error { return nil }

// Alloc returns Load's error.
func (c *Context) Alloc(bytes int) (Ptr, error) { return 0, errNoCgo }

// Free returns Load's error.
func (c *Context) Free(p Ptr) error { return errNoCgo }

// MemInfo returns Load's error.
func (c *Context) MemInfo() (free, total int, err error) { return 0, 0, errNoCgo }

// AllocHost returns Load's error.
func (c *Context) AllocHost(bytes int) (*Host, error) { return nil, errNoCgo }

// Bytes returns nothing.
func (h *Host) Bytes() []byte { return nil }

// Close does nothing.
func (h *Host) Close() error { return nil }

// NewStream returns Load's error.
func (c *Context) NewStream() (*Stream, error) { return nil, errNoCgo }

// NewEvent returns Load's error.
func (c *Context) NewEvent() (*Event, error) { return nil, errNoCgo }

// NewOrderEvent returns Load's error.
func (c *Context) NewOrderEvent() (*Event, error) { return nil, errNoCgo }

// NewBlockingEvent returns Load's error.
func (c *Context) NewBlockingEvent() (*Event, error) { return nil, errNoCgo }

// NVRTC returns Load's error.
func (c *Context) NVRTC() (version string, err error) { return "", errNoCgo }

// Compile returns Load's error.
func (c *Context) Compile(name, source string, options ...string) (*Module, error) {
	return nil, errNoCgo
}

// Function returns Load's error.
func (m *Module) Function(name string) (*Function, error) { return nil, errNoCgo }

// Close does nothing.
func (m *Module) Close() error { return nil }

// Name returns nothing.
func (f *Function) Name() string { return "" }

// Overlap does nothing.
func (f *Function) Overlap() {}

// SetDynamicShared returns Load's error.
func (f *Function) SetDynamicShared(bytes int) error { return errNoCgo }

// Context returns the context that made the stream.
func (s *Stream) Context() *Context { return nil }

// Launch returns Load's error.
func (s *Stream) Launch(f *Function, grid, block [3]int, shared int, args unsafe.Pointer, bytes int) error {
	return errNoCgo
}

// Write returns Load's error.
func (s *Stream) Write(dst Ptr, src []byte) error { return errNoCgo }

// Read returns Load's error.
func (s *Stream) Read(dst []byte, src Ptr) error { return errNoCgo }

// WriteAsync returns Load's error.
func (s *Stream) WriteAsync(dst Ptr, h *Host, off, n int) error { return errNoCgo }

// ReadAsync returns Load's error.
func (s *Stream) ReadAsync(h *Host, off, n int, src Ptr) error { return errNoCgo }

// Copy returns Load's error.
func (s *Stream) Copy(dst, src Ptr, n int) error { return errNoCgo }

// Fill returns Load's error.
func (s *Stream) Fill(dst Ptr, value byte, n int) error { return errNoCgo }

// Sync returns Load's error.
func (s *Stream) Sync() error { return errNoCgo }

// Record returns Load's error.
func (s *Stream) Record(e *Event) error { return errNoCgo }

// Wait returns Load's error.
func (s *Stream) Wait(e *Event) error { return errNoCgo }

// BeginCapture returns Load's error.
func (s *Stream) BeginCapture() error { return errNoCgo }

// EndCapture returns Load's error.
func (s *Stream) EndCapture() (*Graph, error) { return nil, errNoCgo }

// Close does nothing.
func (s *Stream) Close() error { return nil }

// Launch returns Load's error.
func (g *Graph) Launch(s *Stream) error { return errNoCgo }

// Close does nothing.
func (g *Graph) Close() error { return nil }

// Sync returns Load's error.
func (e *Event) Sync() error { return errNoCgo }

// Done returns Load's error.
func (e *Event) Done() (bool, error) { return false, errNoCgo }

// Since returns Load's error.
func (e *Event) Since(earlier *Event) (time.Duration, error) { return 0, errNoCgo }

// Close does nothing.
func (e *Event) Close() error { return nil }
