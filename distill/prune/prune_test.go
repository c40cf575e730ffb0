package prune

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// drawn returns a checkpoint of drawn weights and statistics: γ in [0.5, 1.5),
// no two alike.
func drawn(t *testing.T, a layers.Arch) *checkpoint.Checkpoint {
	t.Helper()
	m, state := checkpointtest.Draw(t, a, 9)
	state = checkpointtest.Redraw(state, 4, checkpointtest.Trained)
	return &checkpoint.Checkpoint{Net: m.Net(), State: state, Metrics: map[string]float64{"val_accuracy": 1}}
}

// apart returns the largest difference, relative to the largest value.
func apart(a, b []float32) float64 {
	worst, largest := 0.0, 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
		largest = max(largest, math.Abs(float64(a[i])))
	}
	return worst / largest
}

func TestTheStudysWidths(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-dwpw", Classes: 11})
	out, r, err := Slim(c, Options{Mult: 0.35})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{16, 32, 64, 44, 44, 44, 89, 89, 256}; !slices.Equal(out.Net.Arch().Widths, want) {
		t.Errorf("widths %v, want %v", out.Net.Arch().Widths, want)
	}
	if r.ParamsBefore != 224011 || r.ParamsAfter != 52902 {
		t.Errorf("%d parameters of %d, want 52902 of 224011", r.ParamsAfter, r.ParamsBefore)
	}
	if len(out.Metrics) != 0 || len(out.History) != 1 || !reflect.DeepEqual(r.After, out.Net.Arch()) || !reflect.DeepEqual(r.Before, c.Net.Arch()) {
		t.Errorf("%v, %v, %+v", out.Metrics, out.History, r)
	}
	path := filepath.Join(t.TempDir(), "pruned.safetensors")
	if _, err := checkpoint.Save(path, out); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Load(path); err != nil {
		t.Error(err)
	}
}

// Where the channels that go are silent (γ = β = 0), the net computes what it
// did; where they are not, it does not, so that the comparison means something.
func TestSilentChannelsAreNotMissed(t *testing.T) {
	for _, family := range []string{"cnn-dwpw", "hw7-student"} {
		c := drawn(t, layers.Arch{Family: family, Classes: 7, Base: 4})
		o := Options{Mult: 0.4, Keep: func(i, n int) bool { return i == 1 || i == n-1 }}
		loud := checkpointtest.Logits(t, c.Restore)
		cut, _, err := Slim(c, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := apart(loud, checkpointtest.Logits(t, cut.Restore)); d < 1e-3 {
			t.Errorf("%s: loud channels make a difference of %g only", family, d)
		}
		widths := c.Net.Arch().Widths
		for i, w := range cut.Net.Arch().Widths {
			if w == widths[i] {
				continue
			}
			gamma, beta := c.State.Find(fmt.Sprintf("cnn.%d.1.weight", i+1)), c.State.Find(fmt.Sprintf("cnn.%d.1.bias", i+1))
			for k := range widths[i] - w {
				at := (k*5 + i) % widths[i] // spread over the tensor; 5 divides no width
				gamma.Data[at], beta.Data[at] = 0, 0
			}
		}
		want := checkpointtest.Logits(t, c.Restore)
		cut, r, err := Slim(c, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := apart(want, checkpointtest.Logits(t, cut.Restore)); d > 1e-5 {
			t.Errorf("%s: the pruned net differs by %g", family, d)
		}
		for i, kept := range r.Kept {
			if (kept == nil) != (cut.Net.Arch().Widths[i] == widths[i]) || kept != nil && len(kept) != cut.Net.Arch().Widths[i] {
				t.Errorf("width %d: kept %v", i, kept)
			}
		}
	}
}

// Channels go by γ, signed, and lie in the order of their rank; each tensor is
// cut where they are.
func TestRank(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-dwpw", Classes: 2, Widths: []int{2, 2, 2, 5, 3, 3, 3, 3, 3}})
	copy(c.State.Find("cnn.4.1.weight").Data, []float32{0.5, -9, 0.7, 0.5, 0.1})
	out, r, err := Slim(c, Options{Widths: []int{2, 2, 2, 3, 3, 3, 3, 3, 3}})
	if err != nil {
		t.Fatal(err)
	}
	order := []int{2, 0, 3}
	if !slices.Equal(r.Kept[3], order) {
		t.Fatalf("kept %v, want %v", r.Kept[3], order)
	}
	pick := func(data []float32, inner int) (want []float32) {
		for _, k := range order {
			want = append(want, data[k*inner:(k+1)*inner]...)
		}
		return want
	}
	for _, e := range c.State {
		want := e.Data
		switch {
		case e.Integer():
		case e.Name == "cnn.3.3.weight": // [5,2,1,1]: rows
			want = pick(e.Data, 2)
		case e.Name == "cnn.3.3.bias", strings.HasPrefix(e.Name, "cnn.4.1."), e.Name == "cnn.4.0.bias":
			want = pick(e.Data, 1)
		case e.Name == "cnn.4.0.weight": // [5,1,3,3]
			want = pick(e.Data, 9)
		case e.Name == "cnn.4.3.weight": // [3,5,1,1]: columns
			want = nil
			for o := range 3 {
				want = append(want, pick(e.Data[o*5:], 1)...)
			}
		}
		if got := out.State.Find(e.Name); !slices.Equal(got.Data, want) {
			t.Errorf("%s is %v, want %v", e.Name, got.Data, want)
		}
	}
}

func TestMultOfOneChangesNothing(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "hw7-student", Classes: 3, Base: 4})
	before := slices.Clone(c.State[0].Data)
	out, r, err := Slim(c, Options{Mult: 1})
	if err != nil || !reflect.DeepEqual(out.State, c.State) || r.ParamsAfter != r.ParamsBefore || !out.Net.Equal(c.Net) {
		t.Errorf("changed: %+v (%v)", r, err)
	}
	out.State[0].Data[0]++
	if !slices.Equal(c.State[0].Data, before) {
		t.Error("the copy shares its weights with the original")
	}
}

// Rounds that each cut what the one before has left come to the widths of the
// net that they began with.
func TestRounds(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-dwpw", Classes: 11})
	full := c.Net.Arch().Widths
	for k, mult := 1, 0.95; k <= 3; k, mult = k+1, mult*0.95 {
		w, err := Widths(full, mult, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, _, err = Slim(c, Options{Widths: w}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{16, 32, 64, 109, 109, 109, 219, 219, 256}; !slices.Equal(c.Net.Arch().Widths, want) || len(c.History) != 3 {
		t.Errorf("%v after %d rounds, want %v", c.Net.Arch().Widths, len(c.History), want)
	}
	if w, err := Widths([]int{1, 1, 1, 2, 1}, 0.1, nil); err != nil || !slices.Equal(w, []int{1, 1, 1, 1, 1}) {
		t.Errorf("%v, %v", w, err)
	}
}

// Any net can be cut whose groups meet batch norms: channels of which all γ and
// β are zero go first, and the net computes what it did.
func TestOtherNets(t *testing.T) {
	for _, family := range []string{"cnn-plain", "cnn-group", "cnn-group-printed", "resnet18"} {
		c := drawn(t, layers.Arch{Family: family, Classes: 3, Base: 8})
		groups, err := cuttable(c.Net)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups[1 : len(groups)-1] {
			for _, u := range g.Uses { // the last unit of each group is silent wherever it goes
				m := c.Net.Module(u.Module)
				if _, ok := m.Kind.(layers.BatchNorm2d); !ok || u.Role != "weight" && u.Role != "bias" {
					continue
				}
				for i, unit := range u.At {
					if int(unit) == g.Size-1 {
						c.State.Find(u.Tensor).Data[i] = 0
					}
				}
			}
		}
		widths, err := WidthsOf(c.Net)
		if err != nil {
			t.Fatal(err)
		}
		to := slices.Clone(widths)
		for i := range groups {
			if _, err := rank(c, &groups[i]); err == nil && 0 < i && i < len(groups)-1 {
				to[i] -= groups[i].Width
			}
		}
		if slices.Equal(to, widths) {
			t.Fatalf("%s: nothing can be cut", family)
		}
		cut, r, err := Slim(c, Options{Widths: to})
		if err != nil {
			t.Fatal(err)
		}
		if d := apart(checkpointtest.Logits(t, c.Restore), checkpointtest.Logits(t, cut.Restore)); d > 1e-5 {
			t.Errorf("%s: the pruned net differs by %g", family, d)
		}
		for i, kept := range r.Kept {
			if to[i] != widths[i] && slices.Contains(kept, groups[i].Size-1) {
				t.Errorf("%s: the silent unit of %s is kept", family, groups[i].Name)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	a := layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 4}
	all := func(int, int) bool { return false }
	for want, o := range map[string]Options{
		"multiplier must be in (0, 1], not 0":                                                {},
		"multiplier must be in (0, 1], not 1.5":                                              {Mult: 1.5},
		"multiplier must be in (0, 1], not NaN":                                              {Mult: math.NaN()},
		"the width of cnn.8.3 meets no BatchNorm":                                            {Mult: 0.5, Keep: all},
		"3 widths given for a net of 9: cnn.0.0 4, ":                                         {Widths: []int{1, 2, 3}},
		"width 3 (cnn.3.3) cannot be cut from 32 to 33 channels; give a number from 1 to 32": {Widths: []int{4, 8, 16, 33, 32, 32, 64, 64, 64}},
		"width 4 (cnn.4.3) cannot be cut from 32 to 0 channels":                              {Widths: []int{4, 8, 16, 32, 0, 32, 64, 64, 64}},
	} {
		_, _, err := Slim(drawn(t, a), o)
		oneLine(t, err, want)
	}
	// A net of which one width meets a batch norm: the other stays.
	text := "modules:\n  a: {kind: Conv2d, out_channels: 8}\n  bn: BatchNorm2d\n  b: {kind: Conv2d, out_channels: 4}\n  pool: AdaptiveAvgPool2d\n  fc: Linear\n"
	n, err := layers.ParseYAML("few.yaml", []byte(text), 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	few := &checkpoint.Checkpoint{Net: n, State: checkpointtest.State(t, m, 1)}
	if _, r, err := Slim(few, Options{Mult: 0.5}); err != nil || !slices.Equal(r.WidthsAfter, []int{4, 4}) {
		t.Errorf("%+v, %v", r, err)
	}
	_, _, err = Slim(few, Options{Mult: 0.5, Keep: KeepEnds})
	oneLine(t, err, "a multiplier of 0.5 cuts none of the widths a 8, b 4; give widths to cut to")
	_, _, err = Slim(few, Options{Mult: 0.5, Keep: all})
	oneLine(t, err, "the width of b meets no BatchNorm by which its channels could be ranked; give widths, with 4 for it")
	if _, r, err := Slim(few, Options{Widths: []int{3, 4}}); err != nil || !slices.Equal(r.WidthsAfter, []int{3, 4}) {
		t.Errorf("%+v, %v", r, err)
	}
	c := drawn(t, a)
	c.State.Find("cnn.5.1.weight").Data[2] = float32(math.NaN())
	c.Path = "some.safetensors"
	_, _, err = Slim(c, Options{Mult: 0.5})
	oneLine(t, err, "prune: some.safetensors: cnn.5.1.weight holds NaN")
	c = drawn(t, a)
	c.State = c.State[1:]
	_, _, err = Slim(c, Options{Mult: 0.5})
	oneLine(t, err, "cnn.0.0.weight", "is missing")
}

func oneLine(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got: %v", w, err)
		}
	}
}
