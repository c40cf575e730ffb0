package engine

// fuseAugmentCast: Augment → Cast to bfloat16, which alone reads the images,
// becomes an Augment that writes bfloat16.
func fuseAugmentCast(f *fuser, s *step) *fusion {
	cast, ok := s.op.(Cast)
	if !ok || cast.To != BFloat16 {
		return nil
	}
	a := f.made[s.in[0]]
	if a == nil || !f.sole(s.in[0], s) {
		return nil
	}
	op, ok := a.op.(Augment)
	if !ok {
		return nil
	}
	op.BFloat16 = true
	return f.one(&step{op: op, in: a.in, out: s.out, scope: a.scope}, a, s)
}
