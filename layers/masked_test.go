package layers_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/potstill/potstill/layers"
)

// A masked value is an image, [C,H,W] in float64, some of whose channels are
// cut: as if they were not there.
type masked struct {
	h, w  int
	v     [][]float64
	alive []bool
}

func newMasked(c, h, w int) *masked {
	m := &masked{h: h, w: w, v: make([][]float64, c), alive: make([]bool, c)}
	for i := range m.v {
		m.v[i] = make([]float64, h*w)
	}
	return m
}

// An oracle computes a net with channels cut by leaving them out of every sum,
// module by module, on the tensors of the whole net: a definition of what a cut
// net is that knows neither Ties nor Select.
type oracle struct {
	t      *testing.T
	n      *layers.Net
	s      layers.StateDict
	groups []layers.Group
	keep   map[string][]int
}

// made returns which output channels of a module with weights are kept.
func (o *oracle) made(module string, channels int) []bool {
	alive := make([]bool, channels)
	for _, g := range o.groups {
		kept, cut := o.keep[g.Name]
		for _, u := range g.Uses {
			if u.Module != module || u.Role != "weight" || u.Axis != 0 {
				continue
			}
			for i, unit := range u.At {
				alive[i] = alive[i] || unit >= 0 && (!cut || slices.Contains(kept, int(unit)))
			}
		}
	}
	return alive
}

func (o *oracle) tensor(m *layers.Module, role string) []float32 {
	if e := o.s.Find(m.Tensor(role)); e != nil {
		return e.Data
	}
	return nil
}

// run returns the logits of one image.
func (o *oracle) run(image *masked) []float64 {
	values := map[string]*masked{layers.Image: image}
	for i := range o.n.Modules {
		m := &o.n.Modules[i]
		var in []*masked
		for _, from := range m.In {
			in = append(in, values[from])
		}
		values[m.Name] = o.module(m, in)
	}
	var out []float64
	for _, v := range values[o.n.Output].v {
		out = append(out, v[0])
	}
	return out
}

func (o *oracle) module(m *layers.Module, in []*masked) *masked {
	x := in[0]
	switch k := m.Kind.(type) {
	case layers.Conv2d:
		return o.conv(m, k, x)
	case layers.Linear:
		y := newMasked(k.OutFeatures, 1, 1)
		y.alive = o.made(m.Name, k.OutFeatures)
		w, b := o.tensor(m, "weight"), o.tensor(m, "bias")
		for i := range y.v {
			y.v[i][0] = float64(b[i])
			for j, v := range x.v {
				if x.alive[j] {
					y.v[i][0] += float64(w[i*k.InFeatures+j]) * v[0]
				}
			}
		}
		return y
	case layers.BatchNorm2d:
		g, b, mean, v := o.tensor(m, "weight"), o.tensor(m, "bias"), o.tensor(m, "running_mean"), o.tensor(m, "running_var")
		return x.each(func(c int, x float64) float64 {
			return (x-float64(mean[c]))/math.Sqrt(float64(v[c])+k.Eps)*float64(g[c]) + float64(b[c])
		})
	case layers.ReLU:
		return x.each(func(_ int, x float64) float64 { return max(x, 0) })
	case layers.ReLU6:
		return x.each(func(_ int, x float64) float64 { return min(max(x, 0), 6) })
	case layers.Add:
		if !slices.Equal(in[0].alive, in[1].alive) {
			o.t.Fatalf("%s adds channels to channels that are not there", m.Name)
		}
		y := x.each(func(_ int, x float64) float64 { return x })
		for c, v := range in[1].v {
			for i := range v {
				y.v[c][i] += v[i]
			}
		}
		return y
	case layers.Mul:
		if len(x.v) < len(in[1].v) || x.h*x.w < in[1].h*in[1].w {
			in[0], in[1] = in[1], in[0]
		}
		factor := in[1]
		y := in[0].each(func(_ int, x float64) float64 { return x })
		for c := range y.v {
			if len(factor.v) > 1 && factor.alive[c] != y.alive[c] {
				o.t.Fatalf("%s multiplies channels by factors of others", m.Name)
			}
			for i := range y.v[c] {
				y.v[c][i] *= factor.v[c%len(factor.v)][i%len(factor.v[0])]
			}
		}
		return y
	case layers.Maximum, layers.Sub:
		y := x.each(func(_ int, x float64) float64 { return x })
		for c, v := range in[1].v {
			for i := range v {
				if _, sub := m.Kind.(layers.Sub); sub {
					y.v[c][i] -= v[i]
				} else {
					y.v[c][i] = max(y.v[c][i], v[i])
				}
			}
		}
		return y
	case layers.SiLU:
		return x.each(func(_ int, x float64) float64 { return x / (1 + math.Exp(-x)) })
	case layers.Sigmoid:
		return x.each(func(_ int, x float64) float64 { return 1 / (1 + math.Exp(-x)) })
	case layers.PReLU:
		w := o.tensor(m, "weight")
		return x.each(func(c int, x float64) float64 { return max(x, 0) + float64(w[c])*min(x, 0) })
	case layers.ScaleShift:
		w, b := o.tensor(m, "weight"), o.tensor(m, "bias")
		return x.each(func(c int, x float64) float64 { return x*float64(w[c]) + float64(b[c]) })
	case layers.Concat:
		y := &masked{h: x.h, w: x.w}
		for _, x := range in {
			y.v, y.alive = append(y.v, x.v...), append(y.alive, x.alive...)
		}
		return y
	case layers.Slice:
		return &masked{h: x.h, w: x.w, v: x.v[k.Start:k.End], alive: x.alive[k.Start:k.End]}
	case layers.ChannelShuffle:
		y := &masked{h: x.h, w: x.w}
		for c := range x.v {
			from := c%k.Groups*(len(x.v)/k.Groups) + c/k.Groups
			y.v, y.alive = append(y.v, x.v[from]), append(y.alive, x.alive[from])
		}
		return y
	case layers.LayerNorm2d:
		return o.normalize(m, x, k.Eps, 1, true)
	case layers.GroupNorm:
		return o.normalize(m, x, k.Eps, k.NumGroups, false)
	case layers.AdaptiveAvgPool2d:
		y := newMasked(len(x.v), 1, 1)
		y.alive = x.alive
		for c, v := range x.v {
			for _, p := range v {
				y.v[c][0] += p / float64(len(v))
			}
		}
		return y
	case layers.Flatten:
		y := &masked{h: 1, w: 1}
		for c, v := range x.v {
			for _, p := range v {
				y.v, y.alive = append(y.v, []float64{p}), append(y.alive, x.alive[c])
			}
		}
		return y
	}
	o.t.Fatalf("%s: a %T", m.Name, m.Kind)
	return nil
}

// each applies f to every element.
func (x *masked) each(f func(c int, x float64) float64) *masked {
	y := newMasked(len(x.v), x.h, x.w)
	y.alive = x.alive
	for c, v := range x.v {
		for i, p := range v {
			y.v[c][i] = f(c, p)
		}
	}
	return y
}

func (o *oracle) conv(m *layers.Module, k layers.Conv2d, x *masked) *masked {
	y := newMasked(k.OutChannels, x.h, x.w) // kernels keep the size
	y.alive = o.made(m.Name, k.OutChannels)
	w, b := o.tensor(m, "weight"), o.tensor(m, "bias")
	each, outs := k.InChannels/k.Groups, k.OutChannels/k.Groups
	for out := range y.v {
		for p := range y.v[out] {
			sum := 0.0
			if b != nil {
				sum = float64(b[out])
			}
			for c := range each {
				in := out/outs*each + c
				if !x.alive[in] {
					continue
				}
				for u := range k.KernelSize[0] {
					for v := range k.KernelSize[1] {
						i, j := p/x.w+u-k.Padding[0], p%x.w+v-k.Padding[1]
						if 0 <= i && i < x.h && 0 <= j && j < x.w {
							sum += float64(w[((out*each+c)*k.KernelSize[0]+u)*k.KernelSize[1]+v]) * x.v[in][i*x.w+j]
						}
					}
				}
			}
			y.v[out][p] = sum
		}
	}
	return y
}

// normalize is a layer norm, each pixel by itself, or a group norm, over what is
// there.
func (o *oracle) normalize(m *layers.Module, x *masked, eps float64, groups int, pixelwise bool) *masked {
	y := newMasked(len(x.v), x.h, x.w)
	y.alive = x.alive
	gamma, beta := o.tensor(m, "weight"), o.tensor(m, "bias")
	parts := [][]int{nil}
	for p := range x.h * x.w {
		if pixelwise {
			parts = append(parts, []int{p})
		} else {
			parts[0] = append(parts[0], p)
		}
	}
	each := len(x.v) / groups
	for g := range groups {
		for _, part := range parts {
			var all []float64
			for c := g * each; c < (g+1)*each; c++ {
				for _, p := range part {
					if x.alive[c] {
						all = append(all, x.v[c][p])
					}
				}
			}
			mean, variance := 0.0, 0.0
			for _, v := range all {
				mean += v / float64(len(all))
			}
			for _, v := range all {
				variance += (v - mean) * (v - mean) / float64(len(all))
			}
			for c := g * each; c < (g+1)*each; c++ {
				for _, p := range part {
					y.v[c][p] = (x.v[c][p]-mean)/math.Sqrt(variance+eps)*float64(gamma[c]) + float64(beta[c])
				}
			}
		}
	}
	return y
}

// TestCutsOverNorms holds cut nets with layer and group norms to the oracle, and
// the oracle to the engine where nothing is cut.
func TestCutsOverNorms(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 40
	}
	normed := 0
	for seed := range count {
		n := drawNet(t, uint64(1000+seed), true)
		s := drawnState(t, n, 3)
		groups, err := n.Groups()
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		keep, cut, state := cutSome(t, r, n, groups, s)
		for name, c := range map[string]struct {
			keep  map[string][]int
			net   *layers.Net
			state layers.StateDict
		}{"whole": {nil, n, s}, "cut": {keep, cut, state}} {
			o := &oracle{t, n, s, groups, c.keep}
			got := logitsOf(t, c.net, c.state)
			px := rand.New(rand.NewPCG(7, 7)) // the images of logitsOf
			var want []float32
			for range 2 {
				image := newMasked(3, 4, 4)
				image.alive = []bool{true, true, true}
				for p := range 16 {
					for c := range 3 {
						image.v[c][p] = float64(px.Float32())
					}
				}
				for _, v := range o.run(image) {
					want = append(want, float32(v))
				}
			}
			near1(t, fmt.Sprintf("net %d, %s", seed, name), got, want, 1e-5)
		}
		for _, m := range n.Modules {
			switch m.Kind.(type) {
			case layers.LayerNorm2d, layers.GroupNorm:
				normed++
			}
		}
	}
	if normed < count/4 {
		t.Errorf("%d norms in %d nets", normed, count)
	}
}
