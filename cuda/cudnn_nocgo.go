//go:build !linux || !cgo

package cuda

// A DNN is a handle of cuDNN; this build has none.
type DNN struct{}

// NewDNN returns Load's error.
func (c *Context) NewDNN(s *Stream) (*DNN, error) { return nil, errNoCgo }

// Version returns nothing.
func (d *DNN) Version() string { return "" }

// Close does nothing.
func (d *DNN) Close() error { return nil }

// A Conv is one pass of a convolution; this build has none.
type Conv struct{}

// NewConv returns Load's error.
func (d *DNN) NewConv(s ConvShape, p ConvPass) (*Conv, error) { return nil, errNoCgo }

// NewFusedConv returns Load's error.
func (d *DNN) NewFusedConv(s ConvShape, relu bool) (*Conv, error) { return nil, errNoCgo }

// Algorithms returns none.
func (c *Conv) Algorithms() []Algorithm { return nil }

// Run returns Load's error.
func (c *Conv) Run(a Algorithm, x, w, y, ws Ptr) error { return errNoCgo }

// RunFused returns Load's error.
func (c *Conv) RunFused(a Algorithm, x, w, bias, z, y, ws Ptr) error { return errNoCgo }

// Close does nothing.
func (c *Conv) Close() error { return nil }

// A BLAS is a handle of cuBLASLt; this build has none.
type BLAS struct{}

// NewBLAS returns Load's error.
func (c *Context) NewBLAS() (*BLAS, error) { return nil, errNoCgo }

// Version returns nothing.
func (b *BLAS) Version() string { return "" }

// Close does nothing.
func (b *BLAS) Close() error { return nil }

// A Matmul is a product of matrices; this build has none.
type Matmul struct{}

// NewMatmul returns Load's error.
func (b *BLAS) NewMatmul(s MatmulShape, maxWorkspace int) (*Matmul, error) { return nil, errNoCgo }

// Algorithms returns none.
func (m *Matmul) Algorithms() []Algorithm { return nil }

// Run returns Load's error.
func (m *Matmul) Run(st *Stream, algo Algorithm, a, b, c, bias, ws Ptr) error { return errNoCgo }

// Close does nothing.
func (m *Matmul) Close() error { return nil }
