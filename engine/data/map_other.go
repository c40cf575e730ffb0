//go:build !unix

package data

import "os"

// mapFile reads a file whole where mapping is not available.
func mapFile(name string) ([]byte, func() error, error) {
	b, err := os.ReadFile(name)
	return b, func() error { return nil }, err
}
