package fit

import (
	"context"
	"slices"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine/metrics"
)

// TestCompare: pilots are the runs that they stand for, seed by seed, and nothing
// is run if one of the losses makes no sense.
func TestCompare(t *testing.T) {
	ds, b := fashion(t), backend(t)
	j := distilled(t, ds, "")
	j.Config.Epochs = 2
	told := 0
	pilots, err := Compare(t.Context(), b, j, []string{"kd:T=4", "dkd"}, 2, func(Pilot) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	if len(pilots) != 3 || told != 3 || pilots[0].Method != "" || pilots[1].Method != "kd:T=4" || pilots[2].Method != "dkd" {
		t.Fatalf("the pilots are %+v", pilots)
	}
	k := j
	k.KD, k.Config.Seed = distill.Settings{Spec: "kd:T=4"}, j.Config.Seed+1
	out, err := Run(context.Background(), b, k)
	if err != nil {
		t.Fatal(err)
	}
	if got := pilots[1].Accuracies[1]; got != out.Result.Last.ValAccuracy {
		t.Errorf("the second seed's pilot has %v, its run %v", got, out.Result.Last.ValAccuracy)
	}
	k.Teacher = nil
	if out, err = Run(context.Background(), b, k); err != nil {
		t.Fatal(err)
	}
	if got := pilots[0].Accuracies[1]; got != out.Result.Last.ValAccuracy {
		t.Errorf("without a teacher the second seed's pilot has %v, its run %v", got, out.Result.Last.ValAccuracy)
	}
	for _, p := range pilots[1:] {
		var gains []float64
		for i, a := range p.Accuracies {
			gains = append(gains, a-pilots[0].Accuracies[i])
		}
		if p.Gain != metrics.Spread(gains) {
			t.Errorf("%s gains %+v, by its seeds %v", p.Method, p.Gain, gains)
		}
	}
	_, err = Compare(t.Context(), b, j, []string{"kd", "at:stages=99", "hinton"}, 1, func(Pilot) { t.Error("a pilot was run") })
	oneLine(t, err, "no method")
	j.Teacher = nil
	_, err = Compare(t.Context(), b, j, []string{"kd"}, 1, nil)
	oneLine(t, err, "name one")
}

func TestPilotBelow(t *testing.T) {
	for want, gains := range map[bool][][]float64{
		true:  {{-0.01, -0.02}, {-0.05, -0.04, 0.001}, {-0.01}},
		false: {{0.01, -0.02}, {0, 0}, {0.1}},
	} {
		for _, g := range gains {
			if p := (Pilot{Method: "kd", Gain: metrics.Spread(g)}); p.Below() != want {
				t.Errorf("gains %v are below: %v", g, !want)
			}
		}
	}
	if (Pilot{Gain: metrics.Spread(slices.Repeat([]float64{-1}, 2))}).Below() {
		t.Error("the labels alone are below themselves")
	}
}
