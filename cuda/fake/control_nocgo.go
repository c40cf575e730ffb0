//go:build !linux || !cgo

package fake

func unusable() string { return "the stand-ins are loaded through cgo, on Linux" }

func plant(dir, _ string, _, _ int) error { return errNotLoaded(dir) }

func calls(dir, _ string) (int, error) { return 0, errNotLoaded(dir) }

func live(dir string) (n [7]int, err error) { return n, errNotLoaded(dir) }

func worked(dir string) ([]Work, error) { return nil, errNotLoaded(dir) }
