package lowrank

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

func drawn(t *testing.T, a layers.Arch) *checkpoint.Checkpoint {
	t.Helper()
	m, s := checkpointtest.Draw(t, a, 9)
	return &checkpoint.Checkpoint{Net: m.Net(), State: checkpointtest.Redraw(s, 4, checkpointtest.Trained), Preprocess: checkpoint.Preprocess{Size: 32}}
}

func apply(t *testing.T, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report) {
	t.Helper()
	out, r, err := Factorize(context.Background(), compress.Env{}, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

// TestTargets: a target is met to 5 %, and what is told is what the net costs.
func TestTargets(t *testing.T) {
	for _, family := range []string{"mlperf_resnet8", "mobilenet_v2"} {
		c := drawn(t, layers.Arch{Family: family, Classes: 3, Base: 8})
		for _, o := range []Options{{MACs: 0.6}, {Params: 0.6}, {MACs: 0.7, Ranks: "evbmf"}, {MACs: 0.75, Form: "tucker"}} {
			if family == "mobilenet_v2" && o.Form != "" {
				continue // all its dense convolutions are pointwise
			}
			o.Untimed = true
			out, r := apply(t, c, o)
			m, err := out.Net.Model()
			if err != nil {
				t.Fatal(err)
			}
			s, err := m.Summary(32, 32)
			if err != nil {
				t.Fatal(err)
			}
			if s.MACs != r.MACsAfter || s.Params != r.ParamsAfter {
				t.Errorf("%s: told are %d multiply-adds and %d parameters, the net has %d and %d", family, r.MACsAfter, r.ParamsAfter, s.MACs, s.Params)
			}
			if o.Ranks == "evbmf" {
				continue // the ranks that it finds in drawn weights are as good as the least
			}
			got, want := float64(r.MACsAfter)/float64(r.MACsBefore), o.MACs
			if o.Params != 0 {
				got, want = float64(r.ParamsAfter)/float64(r.ParamsBefore), o.Params
			}
			if got > want || got < 0.95*want {
				t.Errorf("%s, %+v: %.4f", family, o, got)
			}
			if i := slices.IndexFunc(r.Layers, func(s Split) bool { return s.Why == "it reads the image" }); i != 0 {
				t.Errorf("%s: the first layer does not stay", family)
			}
		}
	}
}

// TestEnergy: all of the energy is the net as it is, most of it nearly.
func TestEnergy(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 8})
	// Weights of low rank: every layer's rows are of three kinds.
	for _, l := range must(layersOf(c, 32, 32)) {
		row := len(l.weight) / l.conv.OutChannels
		for i := range l.weight {
			l.weight[i] = l.weight[i/row%3*row+i%row]
		}
	}
	want := checkpointtest.Logits(t, c.Restore)
	out, r := apply(t, c, Options{Energy: 0.99999, Form: "channel", Untimed: true})
	if d := near(want, checkpointtest.Logits(t, out.Restore)); d > 1e-2 || r.MACsAfter > r.MACsBefore*4/5 {
		t.Errorf("of weights of rank 3 the net differs by %g, with %d of %d multiply-adds", d, r.MACsAfter, r.MACsBefore)
	}
	for _, s := range r.Layers {
		if s.Form != "" && s.Ranks[0] > 3 {
			t.Errorf("%s has rank %d", s.Layer, s.Ranks[0])
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestTimed: with a device, every split that is left was faster than its layer when
// both were timed, and one that was not says so.
func TestTimed(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 8})
	_, r, err := Factorize(context.Background(), compress.Env{Backend: b}, c, Options{Energy: 0.5})
	if err != nil && !strings.Contains(err.Error(), "not faster when timed") {
		t.Fatal(err)
	}
	if err != nil {
		return
	}
	for _, s := range r.Layers {
		if s.Form != "" && !(s.MSAfter < s.MSBefore) || strings.Contains(s.Why, "not faster") && s.MSAfter < s.MSBefore {
			t.Errorf("%+v", s)
		}
	}
}

func TestRefusals(t *testing.T) {
	for want, o := range map[string]Options{
		"how far?": {},
		"there is no form \"cp\"; choose one of [auto svd spatial channel tucker]":        {MACs: .5, Form: "cp"},
		"give a share below 1, and no other way":                                          {Energy: 1.5},
		"with ranks evbmf":                                                                {Weaken: .5},
		"cannot be met: the nearest that can is":                                          {MACs: 10, Untimed: true},
		"is met by the net as it is":                                                      {MACs: 1e12, Untimed: true},
		"fits the pattern \"layer9\"; potstill summary lists the modules":                 {MACs: .5, Protect: []string{"layer9"}, Untimed: true},
		"splits are timed, for one that is not faster is refused":                         {MACs: .7},
		"ranks by accuracy need images with a validation part, and a device; give --data": {MACs: .5, Ranks: "accuracy"},
		"no layer is worth taking apart":                                                  {Energy: .999999999, Untimed: true},
		"factorize: -0.5 is no share and no number that could be left":                    {MACs: -.5},
		"cannot be met: the nearest that can is 2":                                        {MACs: .5, Protect: []string{"*"}, Untimed: true},
	} {
		_, _, err := Factorize(context.Background(), compress.Env{}, drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 4}), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

// TestFactorizeStops: a context that ends stops a factorization between two decompositions.
func TestFactorizeStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := drawn(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 4})
	if _, _, err := Factorize(ctx, compress.Env{}, c, Options{MACs: 0.5, Untimed: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("a factorization that was stopped ended with %v", err)
	}
	if _, err := Within(ctx, c, 0.5); !errors.Is(err, context.Canceled) {
		t.Errorf("Within, when it was stopped, ended with %v", err)
	}
}
