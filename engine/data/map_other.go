//go:build !unix

package data

import (
	"io"
	"os"
)

// mapFile reads a file whole where mapping is not available.
func mapFile(f *os.File) ([]byte, func() error, error) {
	b, err := io.ReadAll(f)
	return b, func() error { return nil }, err
}
