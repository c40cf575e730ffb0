package cpu_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/cpu"
)

// eachVariant runs a test on every instruction set of this machine.
func eachVariant(t *testing.T, f func(t *testing.T, variant string)) {
	for _, v := range cpu.Variants() {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

// open returns a backend that is closed with the test.
func open(t *testing.T, variant string, threads int) *cpu.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{Variant: variant, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// TestPrograms runs whole steps that every backend passes on each instruction
// set, with two threads.
func TestPrograms(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		b := open(t, variant, 2)
		backendtest.RunPrograms(t, b, backendtest.Large)
		backendtest.RunRepeat(t, b, backendtest.Large)
		backendtest.RunAllocations(t, b, backendtest.Large)
		backendtest.RunGated(t, b, backendtest.Large)
	})
}

// trial returns a program that is closed with the test.
func trial(t *testing.T, b *cpu.Backend, r backendtest.Recipe) *backendtest.Trial {
	t.Helper()
	c, err := backendtest.NewTrial(b, backendtest.Large, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func plan(t *testing.T, b *cpu.Backend, r backendtest.Recipe) *engine.Plan {
	t.Helper()
	return trial(t, b, r).Plan()
}

// count returns how many steps have this operator, and stand for these.
func count(steps []engine.PlanStep, op string, fused ...string) (n int) {
	for _, s := range steps {
		all := s.Op == op
		for _, f := range fused {
			all = all && slices.Contains(s.Fused, f)
		}
		if all {
			n++
		}
	}
	return n
}

func TestPlanShowsTheFusion(t *testing.T) {
	b := open(t, cpu.Variants()[0], 1)
	fused, plain := plan(t, b, backendtest.Recipe{Kind: backendtest.AdamW}), plan(t, b, backendtest.Recipe{Kind: backendtest.AdamW, NoFuse: true})
	for _, c := range []struct {
		op    string
		fused []string
		want  int
	}{
		{"BatchNormAct", []string{"BatchNorm", "Activation"}, 2},
		{"BatchNormAct", []string{"BatchNorm", "Activation", "MaxPool2D"}, 1},
		{"BatchNormActBackward", []string{"ActivationBackward", "BatchNormBackward"}, 2},
		{"BatchNormActBackward", []string{"MaxPool2DBackward", "ActivationBackward", "BatchNormBackward"}, 1},
		{"Conv2D", []string{"Conv2D", "Activation"}, 1},
		{"BatchNorm", nil, 0},
		{"MaxPool2D", nil, 0},
	} {
		if n := count(fused.Steps, c.op, c.fused...); n != c.want {
			t.Errorf("training: %d steps are %s of %v, want %d", n, c.op, c.fused, c.want)
		}
	}
	if n := count(plain.Steps, "BatchNormAct") + count(plain.Steps, "BatchNormActBackward"); n != 0 {
		t.Errorf("without fusion %d steps are fused", n)
	}
	if n := count(plain.Steps, "BatchNorm"); n != 2 {
		t.Errorf("without fusion %d steps are BatchNorm, want 2", n)
	}
	if len(fused.Steps) >= len(plain.Steps) || fused.Traffic >= plain.Traffic {
		t.Errorf("fusion takes %d steps to %d, %d bytes moved to %d", len(plain.Steps), len(fused.Steps), plain.Traffic, fused.Traffic)
	}
	eval := plan(t, b, backendtest.Recipe{Kind: backendtest.Inference})
	chains := 1
	if cpu.Variants()[0] == "go" {
		chains = 0
	}
	if n := count(eval.Prepared, "FoldBatchNorm"); n != 2 {
		t.Errorf("inference: %d BatchNorms are folded beforehand, want 2", n)
	}
	if n := count(eval.Steps, "Chain", "Conv2D", "BatchNorm", "Activation", "MaxPool2D"); n != chains {
		t.Errorf("inference: %d chains stand for convolutions, BatchNorm, activation and pool, want %d", n, chains)
	}
	if n := count(eval.Steps, "Conv2D", "BatchNorm", "Activation"); n != 2-2*chains {
		t.Errorf("inference: %d convolutions stand for BatchNorm and activation, want %d", n, 2-2*chains)
	}
	var text strings.Builder
	if _, err := fused.WriteTo(&text); err != nil || !strings.Contains(text.String(), "BatchNorm + Activation + MaxPool2D") {
		t.Errorf("the printed plan does not show the fusion (%v):\n%s", err, text.String())
	}
}
