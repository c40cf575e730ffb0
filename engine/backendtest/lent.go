package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// lent runs the kernel on inputs in the caller's memory, and compares. Where the system
// can do that, there is a page behind each that cannot be read, so that a kernel that reads on
// ends the process.
func (r *rig) lent(b engine.Lender, op engine.Op, first []byte) (faults []string) {
	if _, ok := op.(engine.Updater); ok || b.NewLoan() == nil {
		return nil // an Updater writes to its inputs
	}
	defer func(in []engine.Tensor) { r.in = in }(r.in)
	r.in = append([]engine.Tensor(nil), r.in...)
	for i, t := range r.in {
		data, free, err := guarded(t.Bytes())
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
	got, err := r.run(r.enqueue)
	if err != nil {
		return []string{"on lent inputs: " + err.Error()}
	}
	return append(r.trespasses(got), r.differences("a run on lent inputs", first, got)...)
}
