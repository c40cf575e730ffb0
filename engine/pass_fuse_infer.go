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
	if !ok || add.Weights != nil || len(s.in) != 2 || s.in[0] == s.in[1] {
		return nil
	}
	for k, v := range s.in {
		conv := f.made[v]
		if conv == nil || !f.sole(v, s) {
			continue
		}
		c, ok := conv.op.(Conv2D)
		if !ok || c.Epilogue != (Epilogue{}) {
			continue
		}
		c.Epilogue.Residual = true
		in := append(append([]*Value{}, conv.in...), s.in[1-k])
		if u := f.one(&step{op: c, in: in, out: s.out, scope: conv.scope}, conv, s); u != nil {
			return u
		}
	}
	return nil
}

// fuseQConvSum: QConv2D → QAdd with another tensor becomes a convolution of codes that
// adds it to its result.
func fuseQConvSum(f *fuser, s *step) *fusion {
	add, ok := s.op.(QAdd)
	if !ok || s.in[0] == s.in[1] {
		return nil
	}
	for k, v := range s.in {
		conv := f.made[v]
		if conv == nil || !f.sole(v, s) {
			continue
		}
		c, ok := conv.op.(QConv2D)
		if !ok || c.Sum.Given() {
			continue
		}
		own := add.A
		c.Sum = QSum{R: add.B, Y: add.Y}
		if k == 1 {
			own, c.Sum.R = add.B, add.A
		}
		if own.Scale != c.Y.Scale || own.Zero != c.Y.Zero {
			continue // the sum takes the codes for other numbers than the convolution gives
		}
		in := append(append([]*Value{}, conv.in...), s.in[1-k])
		if u := f.one(&step{op: c, in: in, out: s.out, scope: conv.scope}, conv, s); u != nil {
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
