package engine

import "slices"

// early moves every AllReduce, and what adds up the gradients for it, to the place
// right behind that where its inputs are there: a backend that exchanges beside its
// kernels then does so during the backward pass. It changes no result, for what is
// moved overwrites variables of its own alone.
func (p *plan) early(a aliases) {
	for i := 0; i < len(p.steps); i++ {
		s := p.steps[i]
		switch s.op.(type) {
		case Accumulate, AllReduce:
			to := p.ready(a, s, i)
			if !p.needed(s) || to == i {
				continue
			}
			p.steps = slices.Insert(slices.Delete(p.steps, i, i+1), to, s)
		}
	}
}

// ready returns the first place at which step s, now at place i, may be: behind
// what makes its inputs and behind whoever reads or writes the variables that it
// overwrites. Collectives keep their order: it is that of all ranks. Where batch norms
// exchange too (SyncBatchNorm), all ranks have the same graph but for its shapes, and so the same
// places.
func (p *plan) ready(a aliases, s *step, i int) int {
	touched := make(map[*Value]bool)
	for _, o := range s.out {
		touched[a.root(o)] = true
	}
	_, collective := s.op.(Collective)
	for j := i - 1; j >= 0; j-- {
		before := p.steps[j]
		if _, ok := before.op.(Collective); ok && collective {
			return j + 1
		}
		for _, o := range before.out {
			if slices.Contains(s.in, o) || touched[a.root(o)] {
				return j + 1
			}
		}
		for _, v := range before.in {
			if touched[a.root(v)] {
				return j + 1
			}
		}
	}
	return 0
}

// needed reports whether s belongs to an AllReduce: it is one, or one reads what it makes.
func (p *plan) needed(s *step) bool {
	if _, ok := s.op.(AllReduce); ok {
		return true
	}
	return slices.ContainsFunc(p.steps, func(t *step) bool {
		_, ok := t.op.(AllReduce)
		return ok && slices.ContainsFunc(s.out, func(o *Value) bool { return slices.Contains(t.in, o) })
	})
}
