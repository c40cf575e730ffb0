package engine

// fuseDistillLoss: CrossEntropy and KLDiv of the same logits → Add becomes
// DistillLoss. The two losses stay among its outputs, so that they can be read
// after a run.
func fuseDistillLoss(f *fuser, s *step) *fusion {
	add, ok := s.op.(Add)
	if !ok || len(s.in) != 2 {
		return nil
	}
	for i := range s.in {
		ce, kl := f.made[s.in[i]], f.made[s.in[1-i]]
		if ce == nil || kl == nil {
			return nil
		}
		hard, ok := ce.op.(CrossEntropy)
		soft, ok2 := kl.op.(KLDiv)
		if !ok || !ok2 || ce.in[0] != kl.in[0] || !f.read(s.in[i], s) || !f.read(s.in[1-i], s) {
			continue
		}
		op := DistillLoss{LabelSmoothing: hard.LabelSmoothing, T: soft.T, Hard: add.Weight(i), Soft: add.Weight(1 - i)}
		return f.one(&step{op: op, in: []*Value{ce.in[0], ce.in[1], kl.in[1]},
			out: []*Value{s.out[0], ce.out[0], kl.out[0]}, scope: s.scope}, ce, kl, s)
	}
	return nil
}

// read reports whether s is the only step that reads v, which may be wanted
// after the run too. The fused step takes s's place: another reader of v might
// come before.
func (f *fuser) read(v *Value, s *step) bool { u := f.used[v]; return len(u) == 1 && u[0] == s }

// fuseDistillLossBackward: CrossEntropyBackward and KLDivBackward of the same
// logits → Add becomes DistillLossBackward, if the gradients of both losses are
// multiples of the same scalar. Steps that only make these multiples go too.
func fuseDistillLossBackward(f *fuser, s *step) *fusion {
	add, ok := s.op.(Add)
	if !ok || add.Weights != nil || len(s.in) != 2 || s.in[0] == s.in[1] {
		return nil
	}
	for i := range s.in {
		ce, kl := f.made[s.in[i]], f.made[s.in[1-i]]
		if ce == nil || kl == nil {
			return nil
		}
		hard, ok := ce.op.(CrossEntropyBackward)
		soft, ok2 := kl.op.(KLDivBackward)
		if !ok || !ok2 || ce.in[0] != kl.in[0] || !f.sole(s.in[i], s) || !f.sole(s.in[1-i], s) {
			continue
		}
		m, ok := f.commonScalar(ce, kl)
		if !ok {
			return nil
		}
		op := DistillLossBackward{LabelSmoothing: hard.LabelSmoothing, T: soft.T, Hard: m.first, Soft: m.second}
		return f.one(&step{op: op, in: []*Value{ce.in[0], ce.in[1], kl.in[1], m.of}, out: s.out, scope: s.scope},
			append(m.steps, ce, kl, s)...)
	}
	return nil
}

// A multiple says that two gradients are first·of and second·of, and which
// steps compute nothing else.
type multiple struct {
	of            *Value
	first, second float32
	steps         []*step
}

// commonScalar finds the scalar that the last inputs of x and y are multiples of.
func (f *fuser) commonScalar(x, y *step) (multiple, bool) {
	for _, a := range f.multiples(x) {
		for _, b := range f.multiples(y) {
			if a.of == b.of {
				return multiple{a.of, a.first, b.first, append(a.steps, b.steps...)}, true
			}
		}
	}
	return multiple{}, false
}

// multiples returns what the last input of s is a multiple of: what it was
// scaled from, if an Add has done that, and itself.
func (f *fuser) multiples(s *step) []multiple {
	v := s.in[len(s.in)-1]
	self := multiple{of: v, first: 1}
	made := f.made[v]
	if made == nil || len(made.in) != 1 {
		return []multiple{self}
	}
	add, ok := made.op.(Add)
	if !ok {
		return []multiple{self}
	}
	from := multiple{of: made.in[0], first: add.Weight(0)}
	if f.sole(v, s) {
		from.steps = []*step{made}
	}
	return []multiple{from, self}
}
