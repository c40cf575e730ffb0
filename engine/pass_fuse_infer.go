package engine

// fuseConvBatchNorm: Conv2D → BatchNorm (evaluation) becomes a convolution
// with folded weights. The fold depends on variables only, and is hoisted.
func fuseConvBatchNorm(f *fuser, s *step) *fusion {
	bn, ok := s.op.(BatchNorm)
	if !ok || bn.Train {
		return nil
	}
	conv := f.made[s.in[0]]
	if conv == nil || !f.sole(s.in[0], s) {
		return nil
	}
	c, ok := conv.op.(Conv2D)
	if !ok || c.Epilogue != (Epilogue{}) {
		return nil
	}
	op := FoldBatchNorm{Eps: bn.Eps, Bias: len(conv.in) == 3}
	fold := &step{op: op, in: append(append([]*Value{}, conv.in[1:]...), s.in[1:]...), scope: s.scope}
	specs, err := op.Infer(specsOf(fold.in))
	if err != nil {
		return nil
	}
	for _, spec := range specs {
		fold.out = append(fold.out, &Value{Spec: spec, name: "folded"})
	}
	if !f.fuses(fold) {
		return nil
	}
	in := []*Value{conv.in[0], fold.out[0], fold.out[1]}
	folded := &step{op: c, in: in, out: s.out, scope: conv.scope}
	return &fusion{put: []*step{fold, folded}, take: []*step{conv, s}}
}

// fuseConvResidual: Conv2D → Add with another tensor becomes a convolution
// that adds it in its epilogue.
func fuseConvResidual(f *fuser, s *step) *fusion {
	add, ok := s.op.(Add)
	if !ok || add.Weights != nil || len(s.in) != 2 {
		return nil
	}
	return f.sum(s, func(op Op, _ int) Op {
		c, ok := op.(Conv2D)
		if !ok || c.Epilogue != (Epilogue{}) {
			return nil
		}
		c.Epilogue.Residual = true
		return c
	})
}

// fuseQConvSum: QConv2D → QAdd with another tensor becomes a convolution of codes that
// adds it to its result.
func fuseQConvSum(f *fuser, s *step) *fusion {
	add, ok := s.op.(QAdd)
	if !ok {
		return nil
	}
	return f.sum(s, func(op Op, k int) Op {
		own, other := add.A, add.B
		if k == 1 {
			own, other = add.B, add.A
		}
		c, ok := op.(QConv2D)
		// A sum may take the codes for other numbers than the convolution gives.
		if !ok || c.Sum.Given() || own.Scale != c.Y.Scale || own.Zero != c.Y.Zero {
			return nil
		}
		c.Sum = QSum{R: other, Y: add.Y}
		return c
	})
}

// sum fuses a sum of two tensors with the step that makes one of them, input k of the sum. with
// returns that step's op when it adds the other tensor, which becomes its last input; nil if it
// cannot.
func (f *fuser) sum(s *step, with func(op Op, k int) Op) *fusion {
	if s.in[0] == s.in[1] {
		return nil
	}
	for k, v := range s.in {
		made := f.made[v]
		if made == nil || !f.sole(v, s) {
			continue
		}
		op := with(made.op, k)
		if op == nil {
			continue
		}
		in := append(append([]*Value{}, made.in...), s.in[1-k])
		if u := f.one(&step{op: op, in: in, out: s.out, scope: made.scope}, made, s); u != nil {
			return u
		}
	}
	return nil
}

// fuseConvAct: Conv2D → Activation becomes a convolution that takes the
// activation in its epilogue.
func fuseConvAct(f *fuser, s *step) *fusion {
	a, ok := s.op.(Activation)
	if !ok {
		return nil
	}
	conv := f.made[s.in[0]]
	if conv == nil || !f.sole(s.in[0], s) {
		return nil
	}
	c, ok := conv.op.(Conv2D)
	if !ok || c.Epilogue.Act != Identity {
		return nil
	}
	c.Epilogue.Act = a.F
	return f.one(&step{op: c, in: conv.in, out: s.out, scope: conv.scope}, conv, s)
}

func specsOf(vs []*Value) []Spec {
	specs := make([]Spec, len(vs))
	for i, v := range vs {
		specs[i] = v.Spec
	}
	return specs
}
