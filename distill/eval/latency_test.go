package eval_test

import (
	"context"
	"math"
	"testing"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// TestMeasureInTurns: nets that take turns are run equally often, and the one of more
// work takes longer.
func TestMeasureInTurns(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	var nets []*checkpoint.Checkpoint
	for _, base := range []int{32, 4} {
		m, state := checkpointtest.Draw(t, layers.Arch{Family: "cnn-plain", Base: base, Classes: 10}, 1)
		nets = append(nets, &checkpoint.Checkpoint{Net: m.Net(), State: state, Preprocess: checkpoint.Preprocess{Size: 32}})
	}
	seen := 0
	l, err := eval.MeasureInTurns(context.Background(), b, nets, eval.LatencyOptions{Warm: 1, Runs: 10, Each: func(done int) { seen = done }})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range l {
		if l.Runs < 10 || len(l.Seconds) != l.Runs || l.Runs != seen || l.Height != 32 || l.Batch != 1 || l.Warm != 1 {
			t.Errorf("%+v, %d told", l, seen)
		}
	}
	if r := eval.Ratio(l[0], l[1]); !(r > 2) {
		t.Errorf("a net of fifty times the work takes %.3g times as long", r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := eval.MeasureInTurns(ctx, b, nets, eval.LatencyOptions{}); err == nil {
		t.Error("a measurement that is canceled goes on")
	}
}

func TestRatio(t *testing.T) {
	of, to := &eval.Latency{Seconds: []float64{1, 4, 9, 2}}, &eval.Latency{Seconds: []float64{2, 4, 3}}
	if r := eval.Ratio(of, to); math.Abs(r-1) > 1e-15 { // of 0.5, 1 and 3
		t.Errorf("%g", r)
	}
}
