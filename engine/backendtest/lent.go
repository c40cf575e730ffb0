package backendtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
)

// lent runs the kernel on inputs in the caller's memory, and compares: once they begin and once
// they end at a page that, where the system can do that, cannot be read, so that a kernel that reads
// too far ends the process. It also holds the kernel to allocating nothing when it is enqueued, as
// the first step of a program is in every run.
func (r *rig) lent(b engine.Lender, op engine.Op, first []byte) (faults []string) {
	if _, ok := op.(engine.Updater); ok || b.NewLoan() == nil {
		return nil // an Updater writes to its inputs
	}
	for _, atEnd := range []bool{false, true} {
		faults = append(faults, r.lentAt(b, atEnd, first)...)
	}
	var err error
	if n := testing.AllocsPerRun(8, func() { err = errors.Join(err, r.enqueue()) }); n != 0 {
		faults = append(faults, fmt.Sprintf("to enqueue it allocates %v times", n))
	}
	if err := errors.Join(err, b.Sync()); err != nil {
		faults = append(faults, "enqueued several times: "+err.Error())
	}
	return faults
}

// lentAt runs the kernel on inputs at one end of their pages.
func (r *rig) lentAt(b engine.Lender, atEnd bool, first []byte) (faults []string) {
	defer func(in []engine.Tensor) { r.in = in }(r.in)
	r.in = append([]engine.Tensor(nil), r.in...)
	for i, t := range r.in {
		data, free, err := guarded(t.Bytes(), atEnd)
		if err != nil {
			return []string{err.Error()}
		}
		defer free()
		copy(data, r.image[t.Off:])
		loan := b.NewLoan()
		defer loan.Return()
		if !loan.Take(data, t.DType.Size()) {
			return []string{fmt.Sprintf("input %d cannot be lent", i)}
		}
		r.in[i] = engine.Tensor{Spec: t.Spec, Buf: loan}
	}
	enqueue := r.enqueue
	if r.prepares() {
		enqueue = r.enqueuePrepared // as a program does with weights that stay
	}
	got, err := r.run(enqueue)
	if err != nil {
		return []string{"on lent inputs: " + err.Error()}
	}
	return append(r.trespasses(got), r.differences("a run on lent inputs", first, got)...)
}
