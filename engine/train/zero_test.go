package train

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// Zeros that are given are not replaced by defaults: with β = 0 Adam moves every
// parameter that has a gradient by the learning rate, up or down, in every step.
// With the defaults this is so in the first step alone.
func TestZeroIsTakenAsGiven(t *testing.T) {
	moved := func(o OptimizerConfig) (off int) {
		c := base()
		c.Epochs, c.MixupAlpha = 1, 0
		o.LR = 1.0 / 64
		c.Optimizer = o
		tr := start(t, noisyData(t), c, 1, Hooks{})
		v := tr.vars[0]
		before := floats(t, tr.store, v)
		if _, err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, x := range floats(t, tr.store, v) {
			steps := math.Abs(float64(x-before[i])) / o.LR
			if math.Abs(steps-math.Round(steps)) > 1e-4 {
				off++
			}
		}
		return off
	}
	if n := moved(OptimizerConfig{Betas: &[2]float64{}}); n != 0 {
		t.Errorf("betas of 0: %d parameters did not move by whole steps", n)
	}
	if n := moved(OptimizerConfig{}); n == 0 {
		t.Error("the defaults move every parameter by whole steps")
	}
	if op := (OptimizerConfig{Eps: new(0.0)}).normalized().op(1).(engine.Adam); op.Eps != 0 || op.Beta1 != 0.9 {
		t.Errorf("eps of 0: %+v", op)
	}
	s, err := NewSchedule(ScheduleConfig{Kind: StepDown, StepSize: 1, Gamma: new(0.0)}, 0.5, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := []float64{s.LR(0), s.LR(1), s.LR(2)}; got[0] != 0.5 || got[1] != 0 || got[2] != 0 {
		t.Errorf("gamma of 0: %v", got)
	}
}

// A run is not made longer or shorter where that would have changed the rates
// of the steps that are done, and is where it would not.
func TestResumeWithOtherEpochs(t *testing.T) {
	ds := noisyData(t)
	for _, kind := range []string{Constant, StepDown, Cosine, OneCycle} {
		for _, old := range []bool{false, true} {
			c := base()
			c.Epochs = 2
			c.Schedule = ScheduleConfig{Kind: kind}
			var r recorder
			if _, err := start(t, ds, c, 1, Hooks{Save: r.save}).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			snap := *r.final()
			if old { // as an older version wrote it
				cut := strings.Replace(string(snap.Progress), `,"epochs":2}`, "}", 1)
				if cut == string(snap.Progress) {
					t.Fatalf("the number of epochs is not in %s", cut)
				}
				snap.Progress = []byte(cut)
			}
			c.Epochs = 4
			err := start(t, ds, c, 1, Hooks{}).Resume(&snap)
			depends := kind == Cosine || kind == OneCycle
			switch {
			case !depends && err != nil:
				t.Errorf("%s: %v", kind, err)
			case depends && (err == nil || !strings.Contains(err.Error(), "4 now") && !strings.Contains(err.Error(), "is 4") || !strings.Contains(err.Error(), kind)):
				t.Errorf("%s, old %v: %v", kind, old, err)
			}
			c.Epochs = 2
			if err := start(t, ds, c, 1, Hooks{}).Resume(&snap); err != nil {
				t.Errorf("%s with the same epochs: %v", fmt.Sprint(kind, old), err)
			}
		}
	}
}
