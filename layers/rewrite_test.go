package layers

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/ref"
)

// started returns a model's state as training begins with it.
func started(t *testing.T, n *Net, seed uint64) StateDict {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(memory{})
	if err := m.Init(store, seed); err != nil {
		t.Fatal(err)
	}
	s, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReplaceHead gives nets of families a new last layer, and keeps every other
// tensor.
func TestReplaceHead(t *testing.T) {
	for _, family := range append([]string{"mobilenet_v2", "vgg8"}, listed...) {
		m := newModel(t, Arch{Family: family, Classes: 7, Base: 4})
		s := started(t, m.Net(), 5)
		n, got, err := ReplaceHead(2, 3)(m.Net(), s)
		if err != nil {
			t.Fatal(err)
		}
		want := newModel(t, Arch{Family: family, Classes: 2, Base: 4}).Net()
		if !n.Equal(want) || n.Classes() != 2 {
			t.Errorf("%s: the net is not that of 2 classes", family)
		}
		fresh := started(t, want, 3)
		for i, e := range got {
			w := s[i]
			if i >= len(got)-2 {
				w = fresh[i]
			}
			if e.Name != w.Name || !slices.Equal(e.Shape, w.Shape) || !slices.Equal(e.Data, w.Data) {
				t.Errorf("%s: %s is not what it should be", family, e.Name)
			}
		}
		if _, _, err := ReplaceHead(0, 1)(m.Net(), s); err == nil || !strings.Contains(err.Error(), "0 classes") {
			t.Errorf("no classes: %v", err)
		}
	}
}

// trained draws factors, shifts and statistics as a net has them that has
// learned.
func trained(s StateDict) StateDict {
	out := slices.Clone(s)
	r := random.New(3, 0, 0, random.UseOther)
	for i := range out {
		e := &out[i]
		if len(e.Shape) != 1 {
			continue
		}
		e.Data = slices.Clone(e.Data)
		positive := strings.HasSuffix(e.Name, "running_var") || strings.HasSuffix(e.Name, ".weight")
		for k := range e.Data {
			if e.Data[k] = float32(r.Uniform(-0.3, 0.3)); positive {
				e.Data[k] = float32(r.Uniform(0.5, 1.5))
			}
		}
	}
	return out
}

// evaluated runs a net on two drawn images of 32×32 pixels by the reference.
func evaluated(t *testing.T, n *Net, s StateDict) []float32 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New(ref.WithoutFusion()))
	defer store.Close()
	if err := m.Load(store, s); err != nil {
		t.Fatal(err)
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("x", engine.F32(2, 32, 32, n.Input.Channels))
	y := m.Forward(b, x, false)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pixels, out := make([]float32, x.Len()), make([]float32, y.Len())
	r := random.New(5, 0, 0, random.UseOther)
	for i := range pixels {
		pixels[i] = float32(r.Uniform(0, 1))
	}
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(pixels)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Read(y, engine.Bytes(out)); err != nil {
		t.Fatal(err)
	}
	return out
}

func apart(a, b []float32) float64 {
	worst, largest := 0.0, 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
		largest = max(largest, math.Abs(float64(a[i])))
	}
	return worst / largest
}

// TestFoldAndInsertBatchNorm: folding keeps what a net computes in evaluation,
// and so do batch norms that are put in, whatever their moments.
func TestFoldAndInsertBatchNorm(t *testing.T) {
	for _, family := range listed {
		n := newModel(t, Arch{Family: family, Classes: 3, Base: 4}).Net()
		s := trained(started(t, n, 5))
		want := evaluated(t, n, s)
		folded, fs, err := FoldBatchNorm(n, s)
		if err != nil {
			t.Fatal(err)
		}
		norms := func(n *Net) (count int) {
			for _, m := range n.Modules {
				if _, ok := m.Kind.(BatchNorm2d); ok {
					count++
				}
			}
			return count
		}
		if got := norms(folded); got != 0 {
			t.Errorf("%s: %d batch norms are left", family, got)
		}
		if d := apart(want, evaluated(t, folded, fs)); d > 1e-6 {
			t.Errorf("%s: folded, the logits differ by %g", family, d)
		}
		if again := evaluated(t, n, s); apart(want, again) != 0 {
			t.Errorf("%s: the net itself was changed", family)
		}
		moments := make(map[string]Moments)
		r := random.New(1, 0, 0, random.UseOther)
		for _, m := range folded.Modules {
			c, ok := m.Kind.(Conv2d)
			if !ok {
				continue
			}
			var x Moments
			for range c.OutChannels {
				x.Mean, x.Var = append(x.Mean, float32(r.Uniform(-1, 1))), append(x.Var, float32(r.Uniform(0, 2)))
			}
			moments[m.Name] = x
		}
		normed, ns, err := InsertBatchNorm(moments)(folded, fs)
		if err != nil {
			t.Fatal(err)
		}
		if got := norms(normed); got != len(moments) {
			t.Errorf("%s: %d batch norms behind %d convolutions", family, got, len(moments))
		}
		if d := apart(want, evaluated(t, normed, ns)); d > 1e-6 {
			t.Errorf("%s: with batch norms, the logits differ by %g", family, d)
		}
		refolded, rs, err := FoldBatchNorm(normed, ns)
		if err != nil || !refolded.Equal(folded) || apart(want, evaluated(t, refolded, rs)) > 1e-6 {
			t.Errorf("%s: folded once more, the net is another (%v)", family, err)
		}
		for want, bad := range map[string]map[string]Moments{
			"1 of the 1 convolutions":           {"conv9": {}},
			"0 means and 0 variances":           {folded.Modules[0].Name: {}},
			"a batch norm goes behind a Conv2d": {folded.Output: {}},
		} {
			if _, _, err := InsertBatchNorm(bad)(folded, fs); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		if _, _, err := InsertBatchNorm(moments)(normed, ns); err == nil || !strings.Contains(err.Error(), "follows") {
			t.Errorf("%s: twice: %v", family, err)
		}
	}
}

// TestFoldKeepsWhatItCannotFold: a batch norm without a convolution of its own
// before it stays.
func TestFoldKeepsWhatItCannotFold(t *testing.T) {
	b := NewNetBuilder("own", Input{Channels: 3})
	x := b.Add("bn0", BatchNorm(3), Image)
	c := b.Add("conv", Conv(3, 4, 3), x)
	y := b.Add("bn1", BatchNorm(4), c)
	z := b.Add("add", Add{}, y, c) // which reads the convolution too
	d := b.Add("conv2", Conv(4, 4, 3), z)
	d = b.Add("bn2", BatchNorm(4), d)
	n, err := b.Net(b.Add("pool", AdaptiveAvgPool2d{}, d))
	if err != nil {
		t.Fatal(err)
	}
	s := trained(started(t, n, 2))
	s.Find("bn2.running_var").Data[0] = 2
	folded, fs, err := FoldBatchNorm(n, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(folded.Modules) != len(n.Modules)-1 || folded.Module("bn2") != nil || apart(evaluated(t, n, s), evaluated(t, folded, fs)) > 1e-6 {
		t.Errorf("folded to %v", folded.Modules)
	}
	s.Find("bn2.running_var").Data[0] = -1
	if _, _, err := FoldBatchNorm(n, s); err == nil || !strings.Contains(err.Error(), "bn2: channel 0") {
		t.Errorf("error %v", err)
	}
}
