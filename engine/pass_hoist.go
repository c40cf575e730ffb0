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
	isFixed := func(v *Value) bool { return fixed[v] || v.variable != nil && !written[v] }
	var rest []*step
	for _, s := range p.steps {
		hoistable := len(s.in) > 0 && !updates(s)
		for _, v := range s.in {
			hoistable = hoistable && isFixed(v)
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
