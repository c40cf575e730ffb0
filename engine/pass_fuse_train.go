package engine

// fuseBatchNormActBackward: MaxPool2DBackward? → ActivationBackward →
// BatchNormBackward becomes BatchNormActBackward, if the forward chain is a
// BatchNorm whose y goes through that activation (and pool).
func fuseBatchNormActBackward(f *fuser, s *step) *fusion {
	if _, ok := s.op.(BatchNormBackward); !ok {
		return nil
	}
	act := f.made[s.in[1]]
	if act == nil || !f.sole(s.in[1], s) {
		return nil
	}
	ab, ok := act.op.(ActivationBackward)
	if !ok {
		return nil
	}
	y := f.activated(act, ab.F)
	if y == nil {
		return nil
	}
	bn := f.made[f.made[y].in[0]]
	if bn == nil || len(bn.out) < 3 || bn.out[1] != s.in[3] || bn.in[0] != s.in[0] {
		return nil
	}
	op := BatchNormActBackward{F: ab.F}
	dy, chain := act.in[1], []*step{act, s}
	if pool := f.made[dy]; pool != nil && f.sole(dy, act) {
		if pb, ok := pool.op.(MaxPool2DBackward); ok && pool.in[0] == y && pb.Tiles() {
			op.Pool, dy = &pb.Window, pool.in[1]
			chain = []*step{pool, act, s}
		}
	}
	in := []*Value{s.in[0], dy, s.in[2], bn.in[2], s.in[3], s.in[4]}
	return f.one(&step{op: op, in: in, out: s.out, scope: s.scope}, chain...)
}

// activated returns the output of the activation whose gradient s is, nil if there
// is none: s reads it, or the argument that the activation reads too.
func (f *fuser) activated(s *step, act Act) *Value {
	if !act.FromX() {
		if forward := f.made[s.in[0]]; forward != nil && len(forward.in) == 1 {
			return s.in[0]
		}
		return nil
	}
	for _, u := range f.used[s.in[0]] {
		if a, ok := u.op.(Activation); ok && a.F == act {
			return u.out[0]
		}
	}
	return nil
}

// fuseBatchNormAct: BatchNorm (training) → Activation → MaxPool2D? becomes
// BatchNormAct.
func fuseBatchNormAct(f *fuser, s *step) *fusion {
	var pool *step
	var window *Window
	act := s
	if mp, ok := s.op.(MaxPool2D); ok && mp.Tiles() {
		w := mp.Complete()
		pool, window, act = s, &w, f.made[s.in[0]]
		if act == nil || !f.sole(s.in[0], s) {
			return nil
		}
	}
	a, ok := act.op.(Activation)
	if !ok {
		return nil
	}
	if pool == nil { // leave it to the pool behind, if there is one that will take it
		if next := f.only(act.out[0]); next != nil {
			if mp, ok := next.op.(MaxPool2D); ok && mp.Tiles() {
				return nil
			}
		}
	}
	bn := f.made[act.in[0]]
	if bn == nil || !f.sole(act.in[0], act) {
		return nil
	}
	norm, ok := bn.op.(BatchNorm)
	if !ok || !norm.Train {
		return nil
	}
	op := BatchNormAct{BatchNorm: norm, F: a.F, Pool: window}
	chain := []*step{bn, act}
	if pool != nil {
		chain = append(chain, pool)
	}
	out := append([]*Value{s.out[0]}, bn.out[1:]...)
	return f.one(&step{op: op, in: bn.in, out: out, scope: bn.scope}, chain...)
}
