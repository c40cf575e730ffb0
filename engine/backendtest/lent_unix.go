//go:build unix

package backendtest

import (
	"fmt"
	"os"
	"syscall"
)

// guarded returns n bytes that end before a page that cannot be read.
func guarded(n int) (data []byte, free func(), err error) {
	page := os.Getpagesize()
	end := (n + page - 1) / page * page
	pages, err := syscall.Mmap(-1, 0, end+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("pages for an input: %w", err)
	}
	free = func() { _ = syscall.Munmap(pages) }
	if err := syscall.Mprotect(pages[end:], syscall.PROT_NONE); err != nil {
		free()
		return nil, nil, fmt.Errorf("a page that cannot be read: %w", err)
	}
	return pages[end-n : end], free, nil
}
