//go:build linux && cgo

package cuda

// A Driver is NVIDIA's driver, open, with the libraries around it. Several
// goroutines may use one.
type Driver struct {
	*loader
}
