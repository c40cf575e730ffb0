package engine

// drop removes the steps that nothing needs. Needed are the plan's outputs,
// every update of a variable, and what these are computed from.
func (p *plan) drop() {
	needed := make(map[*Value]bool)
	for _, v := range p.outputs {
		needed[v] = true
	}
	kept := make([]*step, 0, len(p.steps))
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := p.steps[i]
		keep := updates(s)
		for _, o := range s.out {
			keep = keep || needed[o]
		}
		if !keep {
			continue
		}
		for _, v := range s.in {
			needed[v] = true
		}
		kept = append(kept, s)
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	p.steps = kept
}

// updates reports whether s overwrites a variable.
func updates(s *step) bool {
	u, ok := s.op.(Updater)
	if !ok {
		return false
	}
	for i := range s.out {
		if u.Alias(i) >= 0 {
			return true
		}
	}
	return false
}
