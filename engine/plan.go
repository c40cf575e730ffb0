package engine

import (
	"fmt"
	"slices"
)

// A step is one operator of a plan. The passes rewrite steps and leave the
// graph as it is, so that a graph can be compiled many times.
type step struct {
	op    Op
	in    []*Value
	out   []*Value
	scope string
	fused []string // stems of the ops that a fused op stands for

	kernel Kernel
	ws     *block // its scratch memory, nil without
	kept   *block // what its Preparer has prepared for many runs, nil without
	packed *Value // the same, where a step of this run has made it: see pass_pack.go
}

// A plan is what the passes work on: steps in execution order.
type plan struct {
	backend Backend
	outputs []*Value
	prepare []*step // run when a variable has changed from outside: see pass_hoist.go
	steps   []*step
	fixed   map[*Value]bool // values that no run of this plan changes
}

// newPlan copies the graph's nodes.
func newPlan(g *Graph, b Backend, outputs []*Value) *plan {
	p := &plan{backend: b, outputs: outputs}
	for _, n := range g.nodes {
		p.steps = append(p.steps, &step{op: n.Op, in: n.In, out: n.Out, scope: n.Scope})
	}
	return p
}

// root follows in-place outputs to the value whose memory they share.
type aliases map[*Value]*Value

func (a aliases) root(v *Value) *Value {
	for a[v] != nil {
		v = a[v]
	}
	return v
}

// aliases returns, for each output that lives in an input's memory, that input.
func (p *plan) aliases() (aliases, error) {
	a := make(aliases)
	for _, s := range p.steps {
		u, ok := s.op.(Updater)
		if !ok {
			continue
		}
		for i, o := range s.out {
			k := u.Alias(i)
			if k < 0 {
				continue
			}
			if a.root(s.in[k]).variable == nil {
				return nil, fmt.Errorf("%s (%s): overwrites %v, which is not a variable", OpName(s.op), s.scope, s.in[k])
			}
			a[o] = s.in[k]
		}
	}
	return a, nil
}

// checkUpdates makes sure that nobody reads a variable's old value after it
// has been overwritten.
func (p *plan) checkUpdates(a aliases) error {
	current := make(map[*Value]*Value) // root → the value that its memory holds now
	for _, s := range p.steps {
		for _, v := range s.in {
			r := a.root(v)
			if now := current[r]; now != nil && now != v {
				return fmt.Errorf("%s (%s): reads %v after it has been overwritten", OpName(s.op), s.scope, v)
			}
		}
		for _, o := range s.out {
			if r := a.root(o); r != o {
				current[r] = o
			}
		}
	}
	return nil
}

// users returns the steps that read each value.
func (p *plan) users() map[*Value][]*step {
	u := make(map[*Value][]*step)
	for _, s := range p.steps {
		for _, v := range s.in {
			if us := u[v]; len(us) == 0 || us[len(us)-1] != s {
				u[v] = append(us, s)
			}
		}
	}
	return u
}

// producers returns the step that makes each value.
func (p *plan) producers() map[*Value]*step {
	m := make(map[*Value]*step)
	for _, s := range p.steps {
		for _, o := range s.out {
			m[o] = s
		}
	}
	return m
}

// isOutput reports whether v is to be read after a run.
func (p *plan) isOutput(v *Value) bool { return slices.Contains(p.outputs, v) }
