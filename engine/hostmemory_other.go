//go:build !linux

package engine

// systemMemory is not known.
func systemMemory() int { return -1 }
