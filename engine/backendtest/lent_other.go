//go:build !unix

package backendtest

// guarded returns n bytes of ordinary memory.
func guarded(n int, _ bool) (data []byte, free func(), err error) {
	return make([]byte, n), func() {}, nil
}
