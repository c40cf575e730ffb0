package engine

import "slices"

// A Lender is a Recorder whose kernels can read the caller's own memory while a run
// lasts: large inputs need not be copied first. Where its Sync or a Replay fails, nothing that
// was enqueued before is left to be run.
type Lender interface {
	Recorder
	// NewLoan returns a Loan without memory, nil where a build does better without.
	NewLoan() Loan
}

// A Loan is a Buffer that stands for memory of the caller's. Kernels read it, and nobody
// writes to it.
type Loan interface {
	Buffer
	// Take has the buffer stand for data until Return. It reports false, and does
	// nothing, where data does not lie as elements of so many bytes have to.
	Take(data []byte, element int) bool
	// Return gives the memory back. Nothing may be enqueued that reads it.
	Return()
}

// lentBytes is the size of the smallest inputs that are lent: to copy fewer takes less time than
// to tell the first step where they are.
const lentBytes = 64 << 10

// A lending has the first step of a program read inputs where the caller has them. It is
// enqueued anew for each run, so that it is told where; all others are recorded.
type lending struct {
	first  []bound // the first step, if there are loans
	inputs []lent
}

// A lent input is one that the first step alone reads.
type lent struct {
	port  int // among the inputs
	loan  Loan
	at    []int    // where the first step takes it, among its inputs
	owned []Tensor // the program's own memory there, for what has to be copied
}

// open finds the inputs that the first step alone reads.
func (l *lending) open(p *Program, plan *plan, a aliases) {
	b, ok := p.backend.(Lender)
	if !ok || len(plan.steps) == 0 {
		return
	}
	for i, in := range p.inputs {
		is := func(v *Value) bool { return a.root(v) == in.value }
		elsewhere := func(s *step) bool {
			return slices.ContainsFunc(s.out, is) || s != plan.steps[0] && slices.ContainsFunc(s.in, is)
		}
		if in.tensor.Bytes() < lentBytes || slices.ContainsFunc(plan.outputs, is) || slices.ContainsFunc(plan.all(), elsewhere) {
			continue
		}
		n := lent{port: i, loan: b.NewLoan()}
		if n.loan == nil {
			return
		}
		for k, v := range plan.steps[0].in {
			if is(v) {
				n.at, n.owned = append(n.at, k), append(n.owned, p.steps[0].in[k])
			}
		}
		l.inputs = append(l.inputs, n)
	}
	if l.inputs != nil {
		l.first = slices.Clone(p.steps[:1])
		l.first[0].in = slices.Clone(p.steps[0].in)
	}
}

// take has the first step read the data of an input where it lies, if it can, which it reports.
func (l *lending) take(port int, data []byte) bool {
	for i := range l.inputs {
		n := &l.inputs[i]
		if n.port != port || !n.loan.Take(data, n.owned[0].DType.Size()) {
			continue
		}
		for j, k := range n.at {
			l.first[0].in[k] = Tensor{Spec: n.owned[j].Spec, Buf: n.loan}
		}
		return true
	}
	return false
}

// end gives back what was taken. Nothing may be under way that reads it.
func (l *lending) end() {
	for i := range l.inputs {
		n := &l.inputs[i]
		n.loan.Return()
		for j, k := range n.at {
			l.first[0].in[k] = n.owned[j]
		}
	}
}
