package quant

import (
	"errors"
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
)

// The settings of AdaRound: those of the paper but for the number of steps, which is
// smaller because each takes the whole objective and not a sample of it.
const (
	adaSteps   = 1500
	adaRate    = 0.01 // of Adam
	adaWeight  = 0.01 // λ
	adaWarm    = 0.2  // share of the steps without regularization
	adaStart   = 20.0 // β at first
	adaEnd     = 2.0  // and in the end
	adaGamma   = -0.1
	adaZeta    = 1.1
	adaSamples = 16384 // outputs of a layer that are looked at
)

// adaround rounds the weights of one layer after the other, in the order of
// execution, up or down so that the layer's output stays closest to that in
// float32 (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training
// Quantization", arXiv:2004.10568). A layer reads what the rounded net before it
// makes. With the means of its inputs x̂ and outputs y taken out, which a bias makes
// good, the mean squared error of an output channel is a quadratic form of its
// weights ŵ,
//
//	E(y - ŵ·x̂)² = ŵᵀGŵ - 2·ŵᵀt + const    G = E x̂x̂ᵀ    t = E x̂y
//
// so that pictures are needed for G and t alone.
func (w *work) adaround() error {
	for _, name := range w.weights {
		if w.bits[name] == 32 {
			continue
		}
		if err := w.adaroundLayer(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) adaroundLayer(name string) error {
	ms, err := w.products(name)
	if err != nil {
		return err
	}
	e := tensor(w.net, w.state, name, "weight")
	w.keep(&w.before, name, e.Data)
	f := weightFake(w.bits[name], !w.o.PerTensor)
	b := tensor(w.net, w.state, name, "bias")
	if b != nil {
		w.keep(&w.biases, name, b.Data)
		b.Data = slices.Clone(b.Data)
	}
	fresh := slices.Clone(e.Data)
	rows := e.Shape[0]
	each, outs := len(e.Data)/rows, rows/len(ms)
	for g, m := range ms {
		p := &rounding{f: f, rows: outs, k: each, w: e.Data[g*outs*each : (g+1)*outs*each], scale: make([]float32, outs), m: m}
		for r := range p.scale {
			s := w.scales[name]
			p.scale[r] = s[min(g*outs+r, len(s)-1)]
		}
		if err := p.solve(w); err != nil {
			return err
		}
		copy(fresh[g*outs*each:], p.out)
		if b == nil {
			continue
		}
		for r := range outs { // the bias makes the mean what it was
			mean := m.meanY[r]
			for k, x := range m.meanX {
				mean -= float64(p.out[r*each+k]) * x
			}
			b.Data[g*outs+r] = float32(mean)
		}
	}
	e.Data = fresh
	return nil
}

// products are the moments of what a layer, or one group of it, reads and makes:
// k inputs of a kernel at a pixel, and its outputs.
type products struct {
	n            float64
	meanX, meanY []float64
	g            []float64 // [k,k]: Σ x̂x̂ᵀ, later the mean
	t            []float64 // [outs,k]: Σ y·x̂ᵀ, later the mean
}

// products takes the moments of a layer over the pictures.
func (w *work) products(name string) (list []*products, err error) {
	m := w.net.Module(name)
	net, state, err := w.quantized(func(module string) bool { return w.before[module] != nil }, true)
	if err != nil {
		return nil, err
	}
	qs, err := w.activations()
	if err != nil {
		return nil, err
	}
	in := m.In[0]
	var round *layers.Quantizer // of what it reads, where that is not rounded already
	if slices.Contains(w.inputs, name) {
		round = w.reads(qs, name)
	}
	rough, err := newRunner(w.env.Backend, net, state)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rough.close()) }()
	plain, err := newRunner(w.env.Backend, w.net, w.float())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	p := newPatches(m.Kind, tensor(w.net, w.state, name, "weight"), w.o.Seed)
	defer func() { err = errors.Join(err, p.close()) }()
	per := (adaSamples + len(w.pics) - 1) / len(w.pics)
	for i := range w.pics {
		batch := w.pics[i : i+1]
		var made seen
		err := plain.run(w.ctx, batch, []string{name}, func(_ int, got map[string]seen) error { made = got[name]; return nil })
		if err != nil {
			return nil, err
		}
		err = rough.run(w.ctx, batch, []string{in}, func(_ int, got map[string]seen) error {
			x := got[in]
			if round != nil {
				x.data = roundActivation(x.data, round)
			}
			return p.add(w, x, made, per)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := p.flush(w); err != nil {
		return nil, err
	}
	centered := tensor(w.net, w.state, name, "bias") != nil
	for _, q := range p.list {
		q.finish(centered)
	}
	return p.list, nil
}

// finish makes means of the sums, with the means taken out where they are made good.
func (p *products) finish(centered bool) {
	k := len(p.meanX)
	for i := range p.meanX {
		p.meanX[i] /= p.n
	}
	for i := range p.meanY {
		p.meanY[i] /= p.n
	}
	for i := range p.g {
		p.g[i] /= p.n
		if centered {
			p.g[i] -= p.meanX[i/k] * p.meanX[i%k]
		}
	}
	for i := range p.t {
		p.t[i] /= p.n
		if centered {
			p.t[i] -= p.meanY[i/k] * p.meanX[i%k]
		}
	}
}

// A rounding is the choice of up or down for the weights of one layer, or of a group
// of it.
type rounding struct {
	f       layers.Fake
	rows, k int
	w       []float32 // [rows,k]
	scale   []float32 // [rows]
	m       *products

	floor []float64 // codes rounded down
	out   []float32 // the rounded weights
}

// solve finds the roundings. A row for which the result is not better than rounding
// to the nearest keeps the nearest.
func (p *rounding) solve(w *work) (err error) {
	lo, hi := p.f.Codes()
	n := p.rows * p.k
	p.floor, p.out = make([]float64, n), make([]float32, n)
	a := make([]float64, n) // α
	for i, v := range p.w {
		x := float64(v) / float64(p.scale[i/p.k])
		p.floor[i] = math.Floor(x)
		frac := min(max(x-p.floor[i], 1e-4), 1-1e-4)
		a[i] = -math.Log((adaZeta-adaGamma)/(frac-adaGamma) - 1)
	}
	mul, err := newProduct(w.env.Backend, p.rows, p.k, p.m.g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mul.close()) }()
	first, second := make([]float64, n), make([]float64, n)
	soft := make([]float32, n)
	h, slope := make([]float64, n), make([]float64, n)
	for step := range adaSteps {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		for i := range a {
			s := 1 / (1 + math.Exp(-a[i]))
			v := s*(adaZeta-adaGamma) + adaGamma
			h[i], slope[i] = min(max(v, 0), 1), 0
			if v > 0 && v < 1 {
				slope[i] = s * (1 - s) * (adaZeta - adaGamma)
			}
			c := p.floor[i] + h[i]
			if c < float64(lo) || c > float64(hi) {
				c = min(max(c, float64(lo)), float64(hi))
				slope[i] = 0
			}
			soft[i] = float32(c * float64(p.scale[i/p.k]))
		}
		wg, err := mul.run(w.ctx, soft)
		if err != nil {
			return err
		}
		beta, reg := annealed(step)
		for i := range a {
			d := 2 * (float64(wg[i]) - p.m.t[i]) * float64(p.scale[i/p.k]) * slope[i]
			if reg > 0 && slope[i] != 0 {
				u := 2*h[i] - 1
				d -= reg * beta * math.Pow(math.Abs(u), beta-1) * 2 * sign(u) * slope[i]
			}
			first[i] += 0.1 * (d - first[i])
			second[i] += 0.001 * (d*d - second[i])
			m := first[i] / (1 - math.Pow(0.9, float64(step+1)))
			v := second[i] / (1 - math.Pow(0.999, float64(step+1)))
			a[i] -= adaRate * m / (math.Sqrt(v) + 1e-8)
		}
	}
	for r := range p.rows {
		p.settle(r, h[r*p.k:(r+1)*p.k])
	}
	return nil
}

// annealed returns β and λ of a step: none for the first fifth, then β falls from 20
// to 2 along a half cosine.
func annealed(step int) (beta, weight float64) {
	t := (float64(step)/adaSteps - adaWarm) / (1 - adaWarm)
	if t < 0 {
		return adaStart, 0
	}
	return adaEnd + 0.5*(adaStart-adaEnd)*(1+math.Cos(t*math.Pi)), adaWeight
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// settle rounds a row by h, or to the nearest if that is better, and then changes
// single weights from up to down or back as long as the error falls.
func (p *rounding) settle(r int, h []float64) {
	lo, hi := p.f.Codes()
	clip := func(c float64) float64 { return min(max(c, float64(lo)), float64(hi)) }
	ada, near := make([]float64, p.k), make([]float64, p.k)
	s := float64(p.scale[r])
	for k := range p.k {
		i := r*p.k + k
		ada[k] = clip(p.floor[i])
		if h[k] >= 0.5 {
			ada[k] = clip(p.floor[i] + 1)
		}
		near[k] = clip(math.RoundToEven(float64(p.w[i] / p.scale[r])))
	}
	ga, ea := p.error(r, ada, s)
	gn, en := p.error(r, near, s)
	best, grad := ada, ga
	if en < ea {
		best, grad = near, gn
	}
	for range 10 {
		changed := false
		for k := range p.k {
			i := r*p.k + k
			other := clip(p.floor[i])
			if other == best[k] {
				other = clip(p.floor[i] + 1)
			}
			d := (other - best[k]) * s
			if d == 0 || 2*d*grad[k]+d*d*p.m.g[k*p.k+k] >= -1e-12*math.Abs(p.m.g[k*p.k+k]*s*s) {
				continue
			}
			best[k], changed = other, true
			for j := range grad {
				grad[j] += d * p.m.g[k*p.k+j]
			}
		}
		if !changed {
			break
		}
	}
	for k, c := range best {
		p.out[r*p.k+k] = float32(c) * p.scale[r]
	}
}

// error returns Gŵ - t and the objective ŵᵀGŵ - 2ŵᵀt of a row of codes.
func (p *rounding) error(r int, codes []float64, s float64) (grad []float64, e float64) {
	grad = make([]float64, p.k)
	t := p.m.t[r*p.k : (r+1)*p.k]
	for k, c := range codes {
		if c == 0 {
			continue
		}
		for j, g := range p.m.g[k*p.k : (k+1)*p.k] {
			grad[j] += c * s * g
		}
	}
	for k, c := range codes {
		e += c * s * (grad[k] - 2*t[k])
		grad[k] -= t[k]
	}
	return grad, e
}
