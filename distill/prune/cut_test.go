package prune

import (
	"context"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// cutBy is Cut without an environment.
func cutBy(t *testing.T, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report) {
	t.Helper()
	out, r, err := Cut(context.Background(), compress.Env{}, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

// flipped returns the same function with the other sign of every other batch norm
// scale: it moves into the convolution before, and into the statistics.
func flipped(c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	out := *c
	out.State = slices.Clone(c.State)
	for i := range out.State {
		out.State[i].Data = slices.Clone(out.State[i].Data)
	}
	for _, m := range c.Net.Modules {
		if _, ok := m.Kind.(layers.BatchNorm2d); !ok {
			continue
		}
		flip := func(tensor string) {
			e := out.State.Find(tensor)
			if e == nil {
				return
			}
			inner := len(e.Data) / e.Shape[0]
			for i := range e.Data {
				if i/inner%2 == 1 {
					e.Data[i] = -e.Data[i]
				}
			}
		}
		flip(m.Tensor("weight"))
		flip(m.Tensor("running_mean"))
		flip(m.In[0] + ".weight")
		flip(m.In[0] + ".bias")
	}
	return &out
}

// TestSignOfGamma: two nets that compute the same are cut alike, by the size of γ
// and by every other criterion that needs no data. Only the study's cut sees signs.
func TestSignOfGamma(t *testing.T) {
	for _, family := range []string{"cnn-dwpw", "resnet18", "mobilenet_v2"} {
		a := drawn(t, layers.Arch{Family: family, Classes: 3, Base: 8})
		b := flipped(a)
		if d := apart(checkpointtest.Logits(t, a.Restore), checkpointtest.Logits(t, b.Restore)); d > 1e-6 {
			t.Fatalf("%s: with other signs the net computes something else: %g", family, d)
		}
		for _, c := range criteria {
			if c.need != nothing || c.Name == "fpgm" || c.Name == "random" {
				continue // the distance between filters is one of functions only up to signs
			}
			for _, rank := range rankings {
				o := Options{Criterion: c.Name, Rank: rank, Ratio: 0.4}
				cutA, ra := cutBy(t, a, o)
				cutB, rb := cutBy(t, b, o)
				if !reflect.DeepEqual(ra.Kept, rb.Kept) {
					t.Errorf("%s, %s, %s: %v against %v", family, c.Name, rank, ra.Kept, rb.Kept)
				}
				if d := apart(checkpointtest.Logits(t, cutA.Restore), checkpointtest.Logits(t, cutB.Restore)); d > 1e-5 {
					t.Errorf("%s, %s, %s: the cut nets differ by %g", family, c.Name, rank, d)
				}
			}
		}
	}
	a := drawn(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 8})
	_, ra, err := Slim(a, Options{Mult: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	_, rb, err := Slim(flipped(a), Options{Mult: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(ra.Kept, rb.Kept) {
		t.Error("the study's cut does not see the signs of γ any more")
	}
}

// TestCriteria computes importances of a small net by hand: conv a (rows), a batch
// norm, a depthwise convolution, conv b (columns).
func TestCriteria(t *testing.T) {
	text := "modules:\n  a: {kind: Conv2d, out_channels: 3, bias: false}\n  bn: BatchNorm2d\n" +
		"  dw: {kind: Conv2d, out_channels: 3, groups: 3, bias: false}\n  b: {kind: Conv2d, out_channels: 2, bias: false}\n  pool: AdaptiveAvgPool2d\n  fc: Linear\n"
	n, err := layers.ParseYAML("small.yaml", []byte(text), 2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	s := checkpointtest.State(t, m, 1)
	copy(s.Find("a.weight").Data, []float32{1, -2, 2, 0, 3, 0, -1, -1, -1}) // 3 rows of 3
	copy(s.Find("bn.weight").Data, []float32{-2, 1, 0.5})
	copy(s.Find("dw.weight").Data, []float32{4, -1, 3})
	copy(s.Find("b.weight").Data, []float32{1, 0, -2, 3, 1, 1}) // 2 rows, 3 columns
	groups, err := n.Groups()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(groups, func(g layers.Group) bool { return g.Name == "a" })
	sq := math.Sqrt
	for _, c := range []struct {
		criterion, reduce, normalize string
		compat                       bool
		want                         []float64
	}{
		{"l1", "sum", "none", false, []float64{5 + 2 + 4 + 4, 3 + 1 + 1 + 1, 3 + .5 + 3 + 3}},
		{"l2", "mean", "none", false, []float64{(9. + 4 + 16 + 10) / 4, (9. + 1 + 1 + 1) / 4, (3. + .25 + 9 + 5) / 4}},
		{"l2", "mean", "none", true, []float64{(9. + 4 + 10) / 3, (9. + 1 + 1) / 3, (3. + .25 + 5) / 3}},
		{"l2", "max", "none", false, []float64{16, 9, 9}},
		{"l1", "prod", "none", false, []float64{5 * 2 * 4 * 4, 3, 3 * .5 * 3 * 3}},
		{"l1", "first", "max", false, []float64{1, .6, .6}},
		{"l1", "last", "sum", false, []float64{.5, .125, .375}},
		{"bn-scale", "mean", "mean", false, []float64{2 / 3.5 * 3, 1 / 3.5 * 3, .5 / 3.5 * 3}},
		{"lamp", "sum", "lamp", true, []float64{1, 11. / 34, 8.25 / 42.25}},
		{"fpgm", "first", "none", false, []float64{sq(1+25+4) + sq(4+1+9), sq(1+25+4) + sq(1+16+1), sq(4+1+9) + sq(1+16+1)}},
		{"l1", "first", "standardization", false, []float64{1, 0, 0}},
		{"l1", "first", "median", false, []float64{5. / 3, 1, 1}},
		{"l1", "first", "gaussian", false, []float64{4. / 3 / sq(4./3), -2. / 3 / sq(4./3), -2. / 3 / sq(4./3)}},
	} {
		k, err := criterionOf(c.criterion)
		if err != nil {
			t.Fatal(err)
		}
		sc := &scorer{net: n, state: s, criterion: k, reduce: c.reduce, normalize: c.normalize, compat: c.compat}
		got, err := sc.score(i, &groups[i])
		if err != nil {
			t.Fatal(err)
		}
		for u := range c.want {
			if math.Abs(got[u]-c.want[u]) > 1e-6*max(1, c.want[u]) {
				t.Errorf("%s, %s, %s: %v, want %v", c.criterion, c.reduce, c.normalize, got, c.want)
				break
			}
		}
	}
}

// TestRatios: as many channels go as are asked for, in exact arithmetic.
func TestRatios(t *testing.T) {
	for _, c := range []struct {
		n     int
		ratio float64
		want  int
	}{{100, 0.9, 10}, {64, 0.5, 32}, {10, 0.3, 7}, {3, 0.5, 1}, {7, 0, 7}, {1000, 0.001, 999}} {
		if got := left(c.n, c.ratio); got != c.want {
			t.Errorf("%d at %g: %d, want %d", c.n, c.ratio, got, c.want)
		}
	}
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 16})
	for _, rank := range rankings {
		_, r := cutBy(t, c, Options{Ratio: 0.3, Rank: rank})
		before, after := 0, 0
		for i, w := range r.WidthsBefore {
			before, after = before+w, after+r.WidthsAfter[i]
		}
		want := left(before, 0.3)
		if rank == "local" {
			want = 0
			for _, w := range r.WidthsBefore {
				want += left(w, 0.3)
			}
		}
		if after != want && rank != "isomorphic" { // whose scopes round each by itself
			t.Errorf("%s: %d of %d channels are left, want %d", rank, after, before, want)
		}
	}
	// Whatever is asked for, something is left of every layer.
	_, r := cutBy(t, c, Options{Ratio: 0.999, Rank: "global"})
	if slices.Min(r.WidthsAfter) != 1 || slices.Max(r.WidthsAfter) != 1 {
		t.Errorf("widths %v", r.WidthsAfter)
	}
	if _, r := cutBy(t, c, Options{Ratio: 0.7, Rank: "global", MaxRatio: 0.5}); !slices.Equal(r.WidthsAfter, halved(r.WidthsBefore)) {
		t.Errorf("with at most a half of each: %v of %v", r.WidthsAfter, r.WidthsBefore)
	}
	if _, r := cutBy(t, c, Options{Ratio: 0.3, RoundTo: 8}); slices.ContainsFunc(r.WidthsAfter, func(w int) bool { return w%8 != 0 }) {
		t.Errorf("rounded to 8: %v", r.WidthsAfter)
	}
	if out, r := cutBy(t, c, Options{Ratios: []string{"layer2=0.5"}}); r.WidthsAfter[4] != 16 || r.WidthsAfter[0] != r.WidthsBefore[0] ||
		!reflect.DeepEqual(out.State.Find("layer3.1.conv2.weight"), c.State.Find("layer3.1.conv2.weight")) {
		t.Errorf("of layer2 alone: %v of %v", r.WidthsAfter, r.WidthsBefore)
	}
}

func halved(w []int) []int {
	out := slices.Clone(w)
	for i := range out {
		out[i] /= 2
	}
	return out
}

// TestTargets: what is asked for is met, and by no more than the units that stand
// at the edge.
func TestTargets(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 16})
	c.Preprocess.Size = 32
	for _, rank := range []string{"local", "global"} {
		for name, o := range map[string]Options{
			"params": {Params: 0.4}, "macs": {MACs: 0.5}, "bytes": {Bytes: 0.6}, "absolute macs": {MACs: 1e6}, "absolute bytes": {Bytes: 200000},
			"macs of the whole, beside a ratio of a layer": {MACs: 0.5, Ratios: []string{"layer3.*=0.5"}},
		} {
			o.Rank = rank
			out, r := cutBy(t, c, o)
			of := func(cost Cost) float64 {
				switch o.target() {
				case "params":
					return float64(cost.Params)
				case "macs":
					return float64(cost.MACs)
				}
				return float64(cost.Bytes)
			}
			want := o.Params + o.MACs + o.Bytes
			if want < 1 {
				want *= of(r.Costs.Before)
			}
			if got := of(r.Costs.After); got > want || got < 0.85*want {
				t.Errorf("%s, %s: %g, asked for %g", name, rank, got, want)
			}
			if n, err := checkpoint.Size(out); err != nil || n != r.Costs.After.Bytes {
				t.Errorf("%s: %d bytes, reported %d (%v)", name, n, r.Costs.After.Bytes, err)
			}
		}
	}
}

// TestTargetMetByRatios: a target that the layers' own ratios meet asks for nothing more.
func TestTargetMetByRatios(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 16})
	c.Preprocess.Size = 32
	ratios := Options{Ratios: []string{"layer3.*=0.5"}}
	_, alone := cutBy(t, c, ratios)
	for name, o := range map[string]Options{"params": {Params: 0.95}, "macs": {MACs: 0.95}, "absolute macs": {MACs: 0.95 * float64(alone.Costs.Before.MACs)}} {
		o.Ratios = ratios.Ratios
		if _, r := cutBy(t, c, o); !slices.Equal(r.WidthsAfter, alone.WidthsAfter) {
			t.Errorf("%s: %v, and by the ratios alone %v", name, r.WidthsAfter, alone.WidthsAfter)
		}
	}
}

// TestTable: the table lists every layer, and why some stay.
func TestTable(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 8})
	_, r := cutBy(t, c, Options{Ratio: 0.5, Protect: []string{"layer1.*"}})
	rows := r.Table()
	if len(rows) != 1+21 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows[1:] {
		want := "l2"
		switch {
		case row[0] == "fc":
			want = "stays: it is the classes"
		case strings.HasPrefix(row[0], "layer1"), row[0] == "conv1": // conv1 is tied to layer1
			want = "stays: protected by layer1.*"
		}
		if row[2] != want || strings.Contains(row[1], "→") != (want == "l2") {
			t.Errorf("%v, want %s", row, want)
		}
		if cell := row[3]; row[0] == "layer3.0.conv2" && cell != "9,216 → 2,304" { // 3x3 of 32 to 32 channels, of 16 to 16
			t.Errorf("its parameters are %q", cell)
		}
	}
}

func TestCutRefusals(t *testing.T) {
	a := layers.Arch{Family: "resnet18", Classes: 3, Base: 4}
	for want, o := range map[string]Options{
		"a ratio of 1 leaves nothing":                                                {Ratio: 1},
		"the ratio must lie from 0 up to but without 1, not be -0.5":                 {Ratio: -0.5},
		"there is no criterion \"l3\"; choose one of l1, l2, bn-scale":               {Ratio: .5, Criterion: "l3"},
		"there is no ranking \"all\"; choose one of local, global, isomorphic":       {Ratio: .5, Rank: "all"},
		"no layer with channels fits the pattern \"layer9\"":                         {Ratio: .5, Protect: []string{"layer9"}},
		"\"layer1\" is no PATTERN=RATIO":                                             {Ratios: []string{"layer1"}},
		"a ratio is asked for fc, which cannot be cut: it is the classes":            {Ratio: .5, Ratios: []string{"fc=0.5"}},
		"a ratio is asked for conv1, which cannot be cut: protected by conv1":        {Ratio: .5, Protect: []string{"conv1"}, Ratios: []string{"layer1.1.conv2=0.5"}},
		"several targets are given":                                                  {Params: .5, MACs: .5},
		"both a ratio and macs are given":                                            {Ratio: .5, MACs: .5},
		"how much is to go?":                                                         {Criterion: "l2"},
		"mult and widths are the study's":                                            {Mult: .5, Criterion: "l2"},
		"a target of 10 params cannot be met: the nearest that can is ":              {Params: 10},
		"a target of 90000000 params is met by the net as it is, which has 44":       {Params: 9e7},
		"nothing can be cut: conv1 stays (protected by *); choose another criterion": {Ratio: .5, Protect: []string{"*"}},
		"there is no program \"nni\" to be compatible with; choose torch-pruning":    {Ratio: .5, Compat: "nni"},
	} {
		_, _, err := Cut(context.Background(), compress.Env{}, drawn(t, a), o)
		oneLine(t, err, want)
	}
	folded := drawn(t, layers.Arch{Family: "vgg16", Classes: 3, Base: 4})
	_, _, err := Cut(context.Background(), compress.Env{}, folded, Options{Ratio: .5, Criterion: "bn-scale"})
	oneLine(t, err, "nothing can be cut: features.0 stays (bn-scale says nothing of its channels)")
}
