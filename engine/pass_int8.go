package engine

// int8MinChannels is the least number of input channels for which rounding x
// costs less than the integer products save.
const int8MinChannels = 16

// int8 replaces the pointwise convolutions that may compute in integers by
// QuantizeWeight, which is hoisted, and PointwiseInt8: those whose weight is a
// variable and whose input a ReLU6 has bounded. It comes after the fusions,
// which hide ReLU6 in epilogues and fold BatchNorm into weights; folded weights
// are not those that were quantised, and stay as they are. A max pool behind
// the convolution is taken in.
func (p *plan) int8(how Int8) {
	quantize, product := QuantizeWeight{PerChannel: how == Int8PerChannel}, PointwiseInt8{Max: 6}
	f, ok := p.backend.(Fuser)
	if how == NoInt8 || !ok || !f.Fuses(quantize) || !f.Fuses(product) {
		return
	}
	made, used := p.producers(), p.users()
	pooled := make(map[*step]bool)
	var steps []*step
	for _, s := range p.steps {
		if pooled[s] {
			continue
		}
		if !plainPointwise(s) || !withinReLU6(made, s.in[0]) {
			steps = append(steps, s)
			continue
		}
		w := &step{op: quantize, in: s.in[1:2], scope: s.scope}
		for _, spec := range int8Specs(s.in[1].Shape[2], s.in[1].Shape[3]) {
			w.out = append(w.out, &Value{Spec: spec, name: "quantized"})
		}
		in := append(append([]*Value{s.in[0]}, w.out...), s.in[2:]...)
		y := &step{op: product, in: in, out: s.out, scope: s.scope, fused: s.names()}
		if next := used[s.out[0]]; len(next) == 1 && !p.isOutput(s.out[0]) {
			if pool, ok := next[0].op.(MaxPool2D); ok && f.Fuses(PointwiseInt8{product.Max, &pool.Window}) {
				y.op, y.out, y.fused = PointwiseInt8{product.Max, &pool.Window}, next[0].out, append(s.names(), next[0].names()...)
				pooled[next[0]] = true
			}
		}
		steps = append(steps, w, y)
	}
	p.steps = steps
}

// plainPointwise reports whether s is a 1×1 convolution that PointwiseInt8 can
// stand for.
func plainPointwise(s *step) bool {
	c, ok := s.op.(Conv2D)
	if !ok || c.norm() != (Conv2D{Stride: 1, Dilation: 1, Groups: 1}) {
		return false
	}
	w := s.in[1]
	return s.in[0].DType == Float32 && w.variable != nil && w.Shape[0] == 1 && w.Shape[1] == 1 && w.Shape[2] >= int8MinChannels && w.Shape[2] <= Int8MaxChannels
}

// withinReLU6 reports whether v is the result of a ReLU6, max pools aside.
func withinReLU6(made map[*Value]*step, v *Value) bool {
	s := made[v]
	if s == nil {
		return false
	}
	switch op := s.op.(type) {
	case Activation:
		return op.F == ReLU6
	case Conv2D:
		return op.Epilogue.Act == ReLU6
	case MaxPool2D:
		return withinReLU6(made, s.in[0])
	}
	return false
}
