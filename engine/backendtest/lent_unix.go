//go:build unix

package backendtest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// guarded returns n bytes between two pages that cannot be read: behind the first, or at the end
// before the second.
func guarded(n int, atEnd bool) (data []byte, free func(), err error) {
	page := os.Getpagesize()
	end := page + (n+page-1)/page*page
	pages, err := syscall.Mmap(-1, 0, end+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("pages for an input: %w", err)
	}
	free = func() { _ = syscall.Munmap(pages) }
	if err := errors.Join(syscall.Mprotect(pages[:page], syscall.PROT_NONE), syscall.Mprotect(pages[end:], syscall.PROT_NONE)); err != nil {
		free()
		return nil, nil, fmt.Errorf("a page that cannot be read: %w", err)
	}
	if atEnd {
		return pages[end-n : end], free, nil
	}
	return pages[page:][:n], free, nil
}
