package engine

import "slices"

// A pattern tries to fuse the chain of steps that ends in s. It returns nil
// where there is none, or where the backend does not have the fused step.
type pattern func(f *fuser, s *step) *fusion

// A fusion is what a pattern puts into the plan, in order, and the steps that it
// takes out of it, s among them. The last step that it puts is the fused one.
type fusion struct{ put, take []*step }

// patterns are tried in this order at every step. The backward chains come
// first: once they have stopped reading the tensors between, the forward
// chains have no other reader and fuse too.
var patterns = []pattern{
	fuseBatchNormActBackward,
	fuseBatchNormAct,
	fuseConvBatchNorm,
	fuseConvResidual,
	fuseConvAct,
	fuseQConvSum,
	fuseDistillLossBackward,
	fuseDistillLoss,
	fuseAugmentCast,
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
		if u := pat(f, s); u != nil && !slices.ContainsFunc(u.take, func(c *step) bool { return gone[c] }) {
			fused := u.put[len(u.put)-1]
			for _, c := range u.take {
				gone[c] = true
				fused.fused = append(fused.fused, c.names()...)
			}
			out = append(out, u.put...)
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

// one returns the fusion that puts one step in the place of others, nil if the
// backend does not have it.
func (f *fuser) one(s *step, take ...*step) *fusion {
	if !f.fuses(s) {
		return nil
	}
	return &fusion{put: []*step{s}, take: take}
}

// sole reports whether s is v's single reader.
func (f *fuser) sole(v *Value, s *step) bool { return f.only(v) == s }
