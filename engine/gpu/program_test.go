package gpu

import (
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
)

// TestPrograms runs whole steps that every backend passes: with our kernels
// alone, with what is chosen among those of the stand-in libraries, and with the
// first of the libraries' own wherever there is one.
func TestPrograms(t *testing.T) {
	for name, o := range map[string]struct {
		Options
		forced int
	}{"ours": {ours(t), 0}, "chosen": {fakeOptions(t), 0}, "libraries": {fakeOptions(t), 2}} {
		t.Run(name, func(t *testing.T) {
			b := openBackend(t, o.Options)
			b.forced = o.forced
			backendtest.RunPrograms(t, b, backendtest.Small)
			backendtest.RunAllocations(t, b, backendtest.Small)
			backendtest.RunGated(t, b, backendtest.Small)
		})
	}
}

// TestRunsAreRepeatable shows that steps from the same start give the same bits
// where that is asked for, and with our kernels always.
func TestRunsAreRepeatable(t *testing.T) {
	o := fakeOptions(t)
	o.Deterministic = true
	for name, o := range map[string]Options{"ours": ours(t), "chosen": o} {
		t.Run(name, func(t *testing.T) { backendtest.RunRepeat(t, openBackend(t, o), backendtest.Small) })
	}
}

// TestFusion shows what is fused.
func TestFusion(t *testing.T) {
	c, err := backendtest.NewTrial(openBackend(t, ours(t)), backendtest.Small, backendtest.Recipe{Distill: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	count := func(steps []engine.PlanStep, op string) (n int) {
		for _, s := range steps {
			if s.Op == op && (op != "Conv2D" || len(s.Fused) > 1) {
				n++
			}
		}
		return n
	}
	p := c.Plan()
	for op, want := range map[string]int{"BatchNormAct": 2, "BatchNormActBackward": 2, "Conv2D": 6, "BatchNorm": 0} {
		if n := count(p.Steps, op); n != want {
			t.Errorf("%d steps are fused to %s, want %d", n, op, want)
		}
	}
	if n := count(p.Prepared, "FoldBatchNorm"); n != 2 {
		t.Errorf("%d BatchNorms of the teacher are folded beforehand, want 2", n)
	}
}
