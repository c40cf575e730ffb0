//go:build !linux || !cgo

package fake

func invoke(dir, _ string, _ bool, _ []uintptr) (uintptr, error) { return 0, errNotLoaded(dir) }
