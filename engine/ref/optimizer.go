package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(adam)
	define(sgd)
	define(clipScale)
	define(accumulate)
	define(ema)
}

func adam(op engine.Adam, in, out []Array) {
	h := func(i int) num { return exact(in[0].V[i]) }
	lr, decay := h(engine.HyperLR), h(engine.HyperWeightDecay)
	bias1, bias2 := h(engine.HyperBias1), h(engine.HyperBias2)
	b1, b2, eps := exact(float64(op.Beta1)), exact(float64(op.Beta2)), exact(float64(op.Eps))
	k := op.K
	for t := range k {
		for i := range in[2+t].V {
			p, g := exact(in[2+t].V[i]), exact(in[2+k+t].V[i])
			m, v := exact(in[2+2*k+t].V[i]), exact(in[2+3*k+t].V[i])
			g = exact(in[1].V[0]).mul(g)
			if op.Decoupled {
				p = p.sub(lr.mul(decay).mul(p))
			} else {
				g = g.add(decay.mul(p))
			}
			m = b1.mul(m).add(exact(1 - b1.v).mul(g))
			v = b2.mul(v).add(exact(1 - b2.v).mul(g).mul(g))
			p = p.sub(lr.div(bias1).mul(m.div(v.sqrt().div(bias2.sqrt()).add(eps))))
			out[t].set(i, p)
			out[k+t].set(i, m)
			out[2*k+t].set(i, v)
		}
	}
}

func sgd(op engine.SGD, in, out []Array) {
	h := func(i int) num { return exact(in[0].V[i]) }
	mu := exact(float64(op.Momentum))
	k := op.K
	for t := range k {
		for i := range in[2+t].V {
			p, g := exact(in[2+t].V[i]), exact(in[2+k+t].V[i])
			g = exact(in[1].V[0]).mul(g).add(h(engine.HyperWeightDecay).mul(p))
			d := g
			if op.Momentum != 0 {
				b := g
				if in[0].V[engine.HyperFirst] != 1 {
					b = mu.mul(exact(in[2+2*k+t].V[i])).add(g)
				}
				out[k+t].set(i, b)
				d = b
				if op.Nesterov {
					d = g.add(mu.mul(b))
				}
			}
			out[t].set(i, p.sub(h(engine.HyperLR).mul(d)))
		}
	}
}

func clipScale(op engine.ClipScale, in, out []Array) {
	var s sum
	n := 0
	for _, g := range in {
		for _, v := range g.V {
			s.dot(v, v)
		}
		n += g.Len()
	}
	norm := s.sqrt()
	out[0].set(0, norm)
	out[1].V[0] = 1
	if op.MaxNorm != 0 {
		scale := exact(float64(op.MaxNorm)).div(norm.add(exact(1e-6)))
		if scale.v > 1 {
			scale = num{1, 1}
		}
		out[1].set(0, scale)
	}
	setK(out, n)
}

func accumulate(op engine.Accumulate, in, out []Array) {
	first, weight := in[0].V[0], exact(float64(op.Weight))
	for t := range op.K {
		g, a := in[1+t], in[1+op.K+t]
		for i := range g.V {
			s := weight.mul(exact(g.V[i]))
			if first != 1 {
				s = exact(1 - first).mul(exact(a.V[i])).add(s)
			}
			out[t].set(i, s)
		}
	}
}

func ema(op engine.EMA, in, out []Array) {
	decay := in[0].V[0]
	for t := range op.K {
		x, e := in[1+t], in[1+op.K+t]
		for i := range x.V {
			out[t].set(i, exact(decay).mul(exact(e.V[i])).add(exact(1-decay).mul(exact(x.V[i]))))
		}
	}
}
