package backendtest

import (
	"fmt"
	"os"
	"syscall"

	"github.com/potstill/potstill/engine"
)

// lent runs the kernel on inputs in the caller's memory, and compares. Behind each is a page
// that cannot be read, so that a kernel that reads on ends the process.
func (r *rig) lent(b engine.Lender, op engine.Op, first []byte) (faults []string) {
	if _, ok := op.(engine.Updater); ok || b.NewLoan() == nil {
		return nil // an Updater writes to its inputs
	}
	defer func(in []engine.Tensor) { r.in = in }(r.in)
	r.in = append([]engine.Tensor(nil), r.in...)
	for i, t := range r.in {
		pages, err := pagesBefore(t.Bytes())
		if err != nil {
			return []string{err.Error()}
		}
		defer func() { _ = syscall.Munmap(pages) }()
		data := pages[len(pages)-os.Getpagesize()-t.Bytes():][:t.Bytes()]
		copy(data, r.image[t.Off:])
		loan := b.NewLoan()
		defer loan.Return()
		if !loan.Take(data, t.DType.Size()) {
			return []string{fmt.Sprintf("input %d cannot be lent", i)}
		}
		r.in[i] = engine.Tensor{Spec: t.Spec, Buf: loan}
	}
	got, err := r.run(r.enqueue)
	if err != nil {
		return []string{"on lent inputs: " + err.Error()}
	}
	return append(r.trespasses(got), r.differences("a run on lent inputs", first, got)...)
}

// pagesBefore returns pages of memory for n bytes at least, and one more that cannot be read.
func pagesBefore(n int) ([]byte, error) {
	page := os.Getpagesize()
	pages, err := syscall.Mmap(-1, 0, (n+page-1)/page*page+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("pages for an input: %w", err)
	}
	if err := syscall.Mprotect(pages[len(pages)-page:], syscall.PROT_NONE); err != nil {
		return nil, fmt.Errorf("a page that cannot be read: %w", err)
	}
	return pages, nil
}
