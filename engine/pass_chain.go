package engine

import "slices"

// A Chainer is a Backend that runs chains of ops depth-first: see [Chain]. A
// backend without this method is given the links one by one.
type Chainer interface {
	Backend
	// Chains reports whether Compile would accept the chain for these specs, and
	// whether it is worth more than its links one by one.
	Chains(op Chain, in, out []Spec) bool
}

// chain makes chains of what is run in every step, as long ones as the backend
// asks for. A plan that overwrites variables is left as it is: a training step
// keeps what is between its layers for the gradients.
func (p *plan) chain() {
	backend, ok := p.backend.(Chainer)
	if !ok || slices.ContainsFunc(p.steps, updates) {
		return
	}
	used := p.users()
	gone := make(map[*step]bool)
	for _, s := range p.steps {
		if gone[s] || len(s.in) == 0 { // a constant begins nothing
			continue
		}
		links := p.chainFrom(backend, used, s)
		if len(links) < 2 {
			continue
		}
		last := links[len(links)-1]
		for _, l := range links {
			gone[l] = true
		}
		gone[last] = false
		fused, names := chainOf(links), []string(nil)
		for _, l := range links {
			names = append(names, l.names()...)
		}
		fused.fused = names
		*last = *fused // at the place of the last link all inputs are there
	}
	p.steps = slices.DeleteFunc(p.steps, func(s *step) bool { return gone[s] })
}

// chainFrom returns the longest chain that begins with s and that the backend wants,
// looking one link beyond what it does not want: an expansion and a depthwise layer may
// be no gain without the projection behind them.
func (p *plan) chainFrom(backend Chainer, used map[*Value][]*step, s *step) (wanted []*step) {
	links := []*step{s}
	wanted = links
	for len(links) <= len(wanted)+1 {
		next := p.follows(used, links[len(links)-1])
		if next == nil {
			break
		}
		links = append(links, next)
		c := chainOf(links)
		if backend.Chains(c.op.(Chain), specsOf(c.in), specsOf(c.out)) {
			wanted = links
		}
	}
	return wanted
}

// follows returns the step that alone reads what s makes, as its first input and
// no other; nil if there is none.
func (p *plan) follows(used map[*Value][]*step, s *step) *step {
	if len(s.out) != 1 || len(used[s.out[0]]) != 1 || p.isOutput(s.out[0]) {
		return nil
	}
	next := used[s.out[0]][0]
	if len(next.out) != 1 || next.in[0] != s.out[0] || slices.Contains(next.in[1:], s.out[0]) {
		return nil
	}
	return next
}

// chainOf returns the step that a chain of steps is.
func chainOf(steps []*step) *step {
	c := &step{in: steps[0].in[:1:1], out: steps[len(steps)-1].out, scope: steps[0].scope}
	var op Chain
	for _, s := range steps {
		op.Links = append(op.Links, Link{Op: s.op, Extra: len(s.in) - 1})
		c.in = append(c.in, s.in[1:]...)
	}
	c.op = op
	return c
}
