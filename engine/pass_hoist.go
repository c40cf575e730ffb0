package engine

// hoist moves the steps that depend on variables only, on such as this plan
// never overwrites, out of the step into prepare: they run when a variable of
// the store has been changed by somebody else (folded and packed weights of a
// frozen teacher, for one).
func (p *plan) hoist(a aliases) {
	written := make(map[*Value]bool)
	for _, s := range p.steps {
		for _, o := range s.out {
			if r := a.root(o); r != o {
				written[r] = true
			}
		}
	}
	fixed := make(map[*Value]bool)
	p.fixed = fixed
	isFixed := func(v *Value) bool {
		if v.variable != nil && !written[v] {
			fixed[v] = true
		}
		return fixed[v]
	}
	var rest []*step
	for _, s := range p.steps {
		hoistable := len(s.in) > 0 && !updates(s)
		for _, v := range s.in {
			hoistable = isFixed(v) && hoistable
		}
		if !hoistable {
			rest = append(rest, s)
			continue
		}
		for _, o := range s.out {
			fixed[o] = true
		}
		p.prepare = append(p.prepare, s)
	}
	p.steps = rest
}

// prepareKernels gives each kernel that can prepare itself, and whose inputs
// allow it, a block to keep the result in.
func (p *plan) prepareKernels() {
	for _, s := range p.steps {
		k, ok := s.kernel.(Preparer)
		if !ok {
			continue
		}
		inputs, bytes := k.Prepares()
		allowed := bytes > 0
		for _, i := range inputs {
			allowed = allowed && p.fixed[s.in[i]]
		}
		if allowed {
			s.kept = &block{bytes: bytes, first: before, last: len(p.steps)}
		}
	}
}
