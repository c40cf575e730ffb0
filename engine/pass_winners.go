package engine

import "slices"

// winners has a MaxPool2D keep which element won each window, where its gradient is in the plan
// and the backend wants it: the gradient then reads a byte for each window and not
// all of x, which need not be kept for it. A pool that is fused with a BatchNorm keeps
// the x that won, which half of the gradient's work is done with.
func (p *plan) winners() {
	backend, ok := p.backend.(Fuser)
	if !ok {
		return
	}
	used := p.users()
	for _, s := range p.steps {
		if _, ok := s.op.(BatchNormActBackward); ok {
			s.readKept(backend, used[s.in[0]])
			continue
		}
		op, ok := s.op.(MaxPool2DBackward)
		if !ok {
			continue
		}
		for _, pool := range used[s.in[0]] {
			won := pool.won(backend, op)
			if won == nil {
				continue
			}
			s.fused = s.names()
			s.op, s.in = MaxPool2DWinnersBackward{Window: op.Window, X: s.in[0].Spec}, []*Value{won, s.in[1]}
			break
		}
	}
}

// won returns the winners of pool if it is the max pool whose gradient op is: it
// becomes one that keeps them.
func (pool *step) won(backend Fuser, op MaxPool2DBackward) *Value {
	switch forward := pool.op.(type) {
	case MaxPool2DWinners:
		if forward.Complete() == op.Complete() {
			return pool.out[1]
		}
	case MaxPool2D:
		if forward.Complete() != op.Complete() {
			return nil
		}
		keeps := MaxPool2DWinners(op)
		x := pool.in[0].Spec
		out, err := keeps.Infer([]Spec{x})
		if err != nil || !backend.Fuses(keeps, []Spec{x}, out) ||
			!backend.Fuses(MaxPool2DWinnersBackward{Window: op.Window, X: x}, []Spec{out[1], out[0]}, []Spec{x}) {
			return nil
		}
		pool.fused = pool.names()
		won := &Value{Spec: out[1], name: "won"}
		pool.op, pool.out = keeps, []*Value{pool.out[0], won}
		return won
	}
	return nil
}

// readKept has the gradient s of a BatchNormAct with a pool, one of those that read its
// x, take what won from it, which is then kept.
func (s *step) readKept(backend Fuser, readers []*step) {
	back := s.op.(BatchNormActBackward)
	for _, norm := range readers {
		op, ok := norm.op.(BatchNormAct)
		if !ok || op.Pool == nil || op.Keep || back.Pool == nil || len(norm.out) < 5 || norm.out[1] != s.in[4] {
			continue
		}
		op.Keep, back.Kept = true, true
		won := &Value{Spec: norm.out[0].Spec, name: "won"}
		in, out := append(slices.Clone(s.in), won), append(slices.Clone(norm.out), won)
		if !backend.Fuses(op, specsOf(norm.in), specsOf(out)) || !backend.Fuses(back, specsOf(in), specsOf(s.out)) {
			return
		}
		norm.op, norm.out, s.op, s.in = op, out, back, in
		return
	}
}
