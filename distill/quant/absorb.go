package quant

import (
	"errors"
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
)

// observeFloat runs the net in float32 on the pictures.
func (w *work) observeFloat(names []string, each func(got map[string]seen)) error {
	r, err := newRunner(w.env.Backend, w.net, w.float())
	if err != nil {
		return err
	}
	err = r.run(w.ctx, w.pics, names, func(_ int, got map[string]seen) error { each(got); return nil })
	return errors.Join(err, r.close())
}

// A moment is the mean and the sum of squared distances of each channel so far.
type moment struct {
	n        float64
	mean, m2 []float64
}

// add takes values into account, by channels, with Welford's update.
func (m *moment) add(v seen) {
	c := v.channels()
	if m.mean == nil {
		m.mean, m.m2 = make([]float64, c), make([]float64, c)
	}
	for i := 0; i < len(v.data); i += c {
		m.n++
		for k, x := range v.data[i : i+c] {
			d := float64(x) - m.mean[k]
			m.mean[k] += d / m.n
			m.m2[k] += d * (float64(x) - m.mean[k])
		}
	}
}

// A high pair is a layer whose output a ReLU lets through, and what reads it.
type highPair struct {
	maker  string
	takers []string
}

// highPairs returns the pairs between which a constant can be moved: the ReLU is
// the only reader, and those that read it are pointwise or linear, so that no
// padding stands where the constant would.
func highPairs(n *layers.Net) []highPair {
	readers := func(name string) []string {
		var out []string
		for i := range n.Modules {
			if slices.Contains(n.Modules[i].In, name) {
				out = append(out, n.Modules[i].Name)
			}
		}
		return out
	}
	biased := func(name string) bool {
		switch k := n.Module(name).Kind.(type) {
		case layers.Conv2d:
			return k.Bias
		case layers.Linear:
			return k.Bias
		}
		return false
	}
	shared := sharedTensors(n)
	var out []highPair
	for i := range n.Modules {
		m := &n.Modules[i]
		next := readers(m.Name)
		if roleOf(m.Kind) != weighted || !biased(m.Name) || len(next) != 1 || shared[m.Tensor("bias")] {
			continue
		}
		if _, ok := n.Module(next[0]).Kind.(layers.ReLU); !ok || next[0] == n.Output {
			continue
		}
		p := highPair{maker: m.Name, takers: readers(next[0])}
		fits := func(name string) bool {
			t := n.Module(name)
			c, conv := t.Kind.(layers.Conv2d)
			_, linear := t.Kind.(layers.Linear)
			return biased(name) && !shared[t.Tensor("bias")] && (linear || conv && c.Padding == layers.Around(0) && c.Groups == 1)
		}
		if len(p.takers) > 0 && !slices.ContainsFunc(p.takers, func(name string) bool { return !fits(name) }) {
			out = append(out, p)
		}
	}
	return out
}

// absorb moves what a ReLU lets through in any case from one bias into the next:
// with the mean β and the deviation γ of a channel before the ReLU,
//
//	c = max(0, β - 3γ)    b₁ -= c    b₂ += Σ W₂·c
//
// (high-bias absorption, arXiv:1906.04721), so that the range of the channel is
// not spent on a constant. Here β and γ are measured on the pictures, and c is at
// most the least value seen, so that the net computes the same on them.
func (w *work) absorb() error {
	pairs := highPairs(w.net)
	if len(pairs) == 0 {
		return nil
	}
	var names []string
	for _, p := range pairs {
		names = append(names, p.maker)
	}
	moments, least := make(map[string]*moment), make(map[string][]float32)
	err := w.observeFloat(names, func(got map[string]seen) {
		for name, v := range got {
			c := v.channels()
			if moments[name] == nil {
				moments[name] = new(moment)
				least[name] = slices.Clone(v.data[:c])
			}
			moments[name].add(v)
			for i, x := range v.data {
				least[name][i%c] = min(least[name][i%c], x)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, p := range pairs {
		m := moments[p.maker]
		c := make([]float32, len(m.mean))
		for k := range c {
			c[k] = max(0, min(float32(m.mean[k]-3*math.Sqrt(m.m2[k]/m.n)), least[p.maker][k]))
		}
		absorbInto(w.net, w.state, p, c)
	}
	return nil
}

// absorbInto moves the constants c of a pair.
func absorbInto(n *layers.Net, s layers.StateDict, p highPair, c []float32) {
	b := tensor(n, s, p.maker, "bias").Data
	for k, v := range c {
		b[k] -= v
	}
	for _, name := range p.takers {
		wt, b := tensor(n, s, name, "weight"), tensor(n, s, name, "bias").Data
		each := len(wt.Data) / len(b) // inputs and their kernel
		for o := range b {
			sum := 0.0
			for i, v := range wt.Data[o*each : (o+1)*each] {
				sum += float64(v) * float64(c[i/(each/len(c))])
			}
			b[o] += float32(sum)
		}
	}
}
