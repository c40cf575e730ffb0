package engine

import "slices"

// A pattern tries to fuse the chain of steps that ends in s and returns the
// fused step and the steps that it stands for (s among them), or nil.
type pattern func(f *fuser, s *step) (*step, []*step)

// patterns are tried in this order at every step. The backward chains come
// first: once they have stopped reading the tensors between, the forward
// chains have no other reader and fuse too.
var patterns = []pattern{
	fuseBatchNormActBackward,
	fuseBatchNormAct,
	fuseConvBatchNorm,
	fuseConvResidual,
	fuseConvAct,
	fuseDistillLossBackward,
	fuseDistillLoss,
}

// A fuser holds the maps that patterns look things up in.
type fuser struct {
	p       *plan
	backend Fuser
	made    map[*Value]*step
	used    map[*Value][]*step
}

// fuse applies the patterns until none fits.
func (p *plan) fuse() {
	backend, ok := p.backend.(Fuser)
	if !ok {
		return
	}
	for _, pat := range patterns {
		for p.fuseOnce(backend, pat) {
		}
	}
}

// fuseOnce makes one sweep with one pattern and reports whether it changed the plan.
func (p *plan) fuseOnce(backend Fuser, pat pattern) bool {
	f := &fuser{p: p, backend: backend, made: p.producers(), used: p.users()}
	gone := make(map[*step]bool)
	out := make([]*step, 0, len(p.steps))
	for _, s := range p.steps {
		if fused, chain := pat(f, s); fused != nil && !slices.ContainsFunc(chain, func(c *step) bool { return gone[c] }) {
			for _, c := range chain {
				gone[c] = true
				fused.fused = append(fused.fused, c.names()...)
			}
			out = append(out, f.prelude(fused)...)
			out = append(out, fused)
			continue
		}
		out = append(out, s)
	}
	if len(gone) == 0 {
		return false
	}
	p.steps = slices.DeleteFunc(out, func(s *step) bool { return gone[s] })
	return true
}

// names returns the stems of the ops that s stands for.
func (s *step) names() []string {
	if s.fused != nil {
		return s.fused
	}
	return []string{OpName(s.op)}
}

// only returns the single reader of v, nil if there are several or if v is
// wanted after the run.
func (f *fuser) only(v *Value) *step {
	if u := f.used[v]; len(u) == 1 && !f.p.isOutput(v) {
		return u[0]
	}
	return nil
}

// fuses reports whether the backend has the fused step.
func (f *fuser) fuses(s *step) bool { return f.backend.Fuses(s.op, specsOf(s.in), specsOf(s.out)) }

// sole reports whether s is v's single reader.
func (f *fuser) sole(v *Value, s *step) bool { return f.only(v) == s }

// prelude returns the steps that a pattern wants before its fused step.
func (f *fuser) prelude(s *step) []*step {
	if fold, ok := s.op.(foldedConv); ok {
		s.op = fold.Conv2D
		return []*step{fold.fold}
	}
	return nil
}
