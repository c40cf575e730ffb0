package lowrank

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// one returns a net of a layer and a head, with drawn weights.
func oneLayer(t *testing.T, c layers.Conv2d, size int) *checkpoint.Checkpoint {
	t.Helper()
	b := layers.NewNetBuilder("one", layers.Input{Channels: 3, Height: size, Width: size})
	widen := layers.Conv(3, c.InChannels, 1)
	x := b.Add("widen", widen, layers.Image)
	x = b.Add("conv", c, x)
	x = b.Add("pool", layers.AdaptiveAvgPool2d{OutputSize: layers.Both(2)}, x)
	x = b.Add("flat", layers.Flatten{}, x)
	n, err := b.Net(b.Add("fc", layers.Linear{InFeatures: 4 * c.OutChannels, OutFeatures: 5, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return &checkpoint.Checkpoint{Net: n, State: checkpointtest.Redraw(checkpointtest.State(t, m, 3), 5, checkpointtest.Trained)}
}

func layerOf(t *testing.T, c *checkpoint.Checkpoint, name string, size int) *layer {
	t.Helper()
	list, err := layersOf(c, size, size)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(l *layer) bool { return l.name == name })
	if i < 0 {
		t.Fatalf("no layer %s", name)
	}
	return list[i]
}

// logits runs the net on two images.
func logits(t *testing.T, c *checkpoint.Checkpoint, size int) []float32 {
	images := make([]float32, 2*size*size*3)
	r := random.New(4, 0, 0, random.UseOther)
	for i := range images {
		images[i] = float32(r.Float64())
	}
	return checkpointtest.LogitsOf(t, c.Restore, images, 2, size)
}

func near(a, b []float32) float64 {
	worst, scale := 0.0, 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
		scale = max(scale, math.Abs(float64(a[i])))
	}
	return worst / scale
}

// TestFullRank: at full rank every form computes what the layer does, with any
// stride, padding and kernel, and its costs are those that are told.
func TestFullRank(t *testing.T) {
	const size = 11
	for _, kernel := range []layers.Pair{{1, 1}, {3, 3}, {5, 5}, {7, 7}, {3, 5}, {1, 7}, {3, 1}} {
		for _, stride := range []int{1, 2} {
			for _, pad := range []layers.Pads{{}, layers.Around(1), layers.Around(3), {0, 0, 1, 1}} {
				c := layers.Conv(6, 9, 1)
				c.KernelSize, c.Stride, c.Padding, c.Bias = kernel, layers.Both(stride), pad, stride == 1
				if kernel == layers.Both(1) && pad != (layers.Pads{}) && pad != layers.Around(1) {
					continue
				}
				model := oneLayer(t, c, size)
				l := layerOf(t, model, "conv", size)
				want := logits(t, model, size)
				for _, form := range l.forms("auto") {
					x, err := l.spectrum(form)
					if err != nil {
						t.Fatal(err)
					}
					s := split{form: form, r: len(x.d.sigma)}
					if x.in != nil {
						s.r, s.in = 9, 6
					}
					chain, err := l.chain(s)
					if err != nil {
						t.Fatal(err)
					}
					what := fmt.Sprintf("%s of %v, stride %d, padding %v", form, kernel, stride, pad)
					out, err := model.Rewrite(layers.InPlaceOf(map[string][]layers.Step{"conv": chain}))
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if d := near(want, logits(t, out, size)); d > 1e-5 {
						t.Errorf("%s: the net differs by %g", what, d)
					}
					checkCosts(t, what, l, s, model, out, size)
				}
			}
		}
	}
}

func checkCosts(t *testing.T, what string, l *layer, s split, before, after *checkpoint.Checkpoint, size int) {
	t.Helper()
	cost := func(c *checkpoint.Checkpoint) (int64, int) {
		m, err := c.Net.Model()
		if err != nil {
			t.Fatal(err)
		}
		x, err := m.Summary(size, size)
		if err != nil {
			t.Fatal(err)
		}
		return x.MACs, x.Params
	}
	m0, p0 := cost(before)
	m1, p1 := cost(after)
	if m1-m0 != l.macs(s)-l.macs(split{}) || p1-p0 != l.params(s)-l.params(split{}) {
		t.Errorf("%s: %d multiply-adds and %d parameters more, told are %d and %d", what, m1-m0, p1-p0, l.macs(s)-l.macs(split{}), l.params(s)-l.params(split{}))
	}
}

// TestError: what a split of a lower rank loses is what the singular values tell,
// and tucker loses no more than its bound, and less than with the first guess.
func TestError(t *testing.T) {
	c := layers.Conv(8, 12, 3)
	model := oneLayer(t, c, 9)
	l := layerOf(t, model, "conv", 9)
	all := 0.0
	for _, v := range l.weight {
		all += float64(v) * float64(v)
	}
	for _, s := range []split{{"spatial", 5, 0}, {"channel", 7, 0}, {"tucker", 6, 4}, {"tucker", 3, 8}, {"tucker", 12, 2}} {
		chain, err := l.chain(s)
		if err != nil {
			t.Fatal(err)
		}
		apart := 0.0
		for i, v := range product(l, s, chain) {
			d := float64(v) - float64(l.weight[i])
			apart += d * d
		}
		bound, err := l.lost(s)
		if err != nil {
			t.Fatal(err)
		}
		switch share := apart / all; {
		case s.form != "tucker" && math.Abs(share-bound) > 1e-5*bound:
			t.Errorf("%v loses %g, its singular values say %g", s, share, bound)
		case s.form == "tucker" && (share > bound*(1+1e-6) || share < max(tailOf(t, l, s))):
			t.Errorf("%v loses %g, at most %g", s, share, bound)
		}
	}
}

// tailOf is the least that any tucker of these ranks loses.
func tailOf(t *testing.T, l *layer, s split) float64 {
	x, err := l.spectrum("tucker")
	if err != nil {
		t.Fatal(err)
	}
	return max(tail(x.d.sigma, s.r), tail(x.in.sigma, s.in)) * (1 - 1e-6)
}

// product multiplies a chain out to a weight [O,I,KH,KW].
func product(l *layer, s split, chain []layers.Step) []float32 {
	o, i := l.conv.OutChannels, l.conv.InChannels
	kh, kw := l.kernel()
	w := func(k int) []float32 { return chain[k].Tensors["weight"] }
	out := make([]float32, o*i*kh*kw)
	for f := range o {
		for c := range i {
			for y := range kh {
				for x := range kw {
					sum := 0.0
					for r := range s.r {
						switch s.form {
						case "spatial":
							sum += float64(w(0)[(r*i+c)*kh+y]) * float64(w(1)[(f*s.r+r)*kw+x])
						case "channel":
							sum += float64(w(0)[((r*i+c)*kh+y)*kw+x]) * float64(w(1)[f*s.r+r])
						case "tucker":
							for q := range s.in {
								sum += float64(w(0)[q*i+c]) * float64(w(1)[((r*s.in+q)*kh+y)*kw+x]) * float64(w(2)[f*s.r+r])
							}
						}
					}
					out[((f*i+c)*kh+y)*kw+x] = float32(sum)
				}
			}
		}
	}
	return out
}

// TestSymmetric: the eigenvectors are orthonormal and make the matrix again.
func TestSymmetric(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 40} {
		r := random.New(uint64(n), 0, 0, random.UseOther)
		m := newMatrix(n, max(1, n/2)) // of half the rank
		for i := range m.at {
			m.at[i] = r.NormFloat64()
		}
		a := m.gram()
		values, vectors, err := symmetric(a)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for j := range n {
				sum := 0.0
				for k := range n {
					sum += vectors.at[k*n+i] * values[k] * vectors.at[k*n+j]
				}
				if math.Abs(sum-a.at[i*n+j]) > 1e-11*float64(n)*values[0] {
					t.Fatalf("%d: element %d,%d is %g, want %g", n, i, j, sum, a.at[i*n+j])
				}
				want := 0.0
				if i == j {
					want = 1
				}
				if d := dot(vectors.row(i), vectors.row(j)); math.Abs(d-want) > 1e-12*float64(n) {
					t.Fatalf("%d: vectors %d and %d have the product %g", n, i, j, d)
				}
			}
		}
		if !slices.IsSortedFunc(values, func(a, b float64) int {
			if a > b {
				return -1
			}
			return 1
		}) && n > 1 {
			t.Errorf("%d: %v", n, values)
		}
	}
}

// TestEVBMF: planted ranks are found in noise, and none in noise alone.
func TestEVBMF(t *testing.T) {
	for _, c := range []struct {
		l, m, rank int
		signal     float64
	}{{40, 60, 0, 0}, {40, 60, 3, 3}, {60, 40, 5, 3}, {30, 300, 8, 3}, {64, 64, 12, 3}} {
		r := random.New(uint64(c.l*c.m+c.rank), 0, 0, random.UseOther)
		m := newMatrix(c.l, c.m)
		for i := range m.at {
			m.at[i] = 0.1 * r.NormFloat64()
		}
		for range c.rank {
			u, v := make([]float64, c.l), make([]float64, c.m)
			for i := range u {
				u[i] = r.NormFloat64()
			}
			for i := range v {
				v[i] = r.NormFloat64()
			}
			for i := range u {
				for j := range v {
					m.row(i)[j] += 0.1 * c.signal * u[i] * v[j]
				}
			}
		}
		d, err := decompose(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := evbmf(d.sigma, c.l, c.m); got != c.rank {
			t.Errorf("%dx%d: rank %d, planted is %d", c.l, c.m, got, c.rank)
		}
	}
	if got := weakened(64, 4, 0.5); got != 34 {
		t.Errorf("half of the way from 64 to 4 is %d", got)
	}
}
