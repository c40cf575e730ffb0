package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

type goldenFile struct {
	Schedules []struct {
		Name          string
		Config        ScheduleConfig
		Base          float64
		Epochs        int
		StepsPerEpoch int `json:"steps_per_epoch"`
		LR            []float64
	}
	Runs map[string]struct{ Losses, Norms, Weight, Bias []float64 }
}

func golden(t *testing.T) goldenFile {
	t.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldenFile
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Schedules) == 0 || len(g.Runs) == 0 {
		t.Fatal("testdata/golden.json is empty; make it with scripts/golden_train.py")
	}
	return g
}

func TestSchedulesAreTorchs(t *testing.T) {
	for _, g := range golden(t).Schedules {
		s, err := NewSchedule(g.Config, g.Base, g.Epochs, g.StepsPerEpoch)
		if err != nil {
			t.Fatal(err)
		}
		if len(g.LR) != g.Epochs*g.StepsPerEpoch {
			t.Fatalf("%s: %d golden rates", g.Name, len(g.LR))
		}
		for i, want := range g.LR {
			if got := s.LR(i); math.Abs(got-want) > 1e-12*g.Base+1e-9*want {
				t.Errorf("%s: step %d: %.12g, torch %.12g", g.Name, i, got, want)
			}
		}
	}
}

func TestScheduleEdges(t *testing.T) {
	for _, c := range []ScheduleConfig{
		{Kind: OneCycle}, {Kind: Cosine}, {Kind: StepDown}, {Warmup: 10}, {Kind: OneCycle, PctStart: 1}, {Kind: Cosine, WarmupEpochs: 0.5},
	} {
		for n := 1; n <= 4; n++ {
			s, err := NewSchedule(c, 1, 1, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n + 2 {
				if lr := s.LR(i); !finite(lr) || lr < 0 || lr > 1 {
					t.Errorf("%+v, %d steps: rate %v at step %d", c, n, lr, i)
				}
			}
		}
	}
}

// goldenData is the data of scripts/golden_train.py.
func goldenData(t *testing.T) *data.Dataset {
	dir := filepath.Join(t.TempDir(), "golden")
	for i, class := range []int{0, 0, 0, 1, 1, 1, 2, 2} {
		name := fmt.Sprintf("%d_%d.png", class, i)
		writePicture(t, filepath.Join(dir, "training", name), 2, goldenPixel(i))
		writePicture(t, filepath.Join(dir, "validation", name), 2, goldenPixel(i))
	}
	ds := open(t, dir)
	for i := range 8 {
		if got := ds.Train.Image(i).Pix[0]; got != uint8(37*i) {
			t.Fatalf("image %d starts with %d: not in the golden's order", i, got)
		}
	}
	return ds
}

func TestOptimizersAreTorchs(t *testing.T) {
	ds := goldenData(t)
	adamw := OptimizerConfig{Kind: AdamW, LR: 0.02, WeightDecay: 0.01}
	momentum := OptimizerConfig{Kind: SGD, LR: 0.1, Momentum: 0.9}
	for name, c := range map[string]Config{
		"adamw":     {Optimizer: OptimizerConfig{LR: 0.02, WeightDecay: 0.1}},
		"adam":      {Optimizer: OptimizerConfig{Kind: Adam, LR: 0.02, WeightDecay: 0.1, Betas: &[2]float64{0.8, 0.95}, Eps: new(1e-6)}},
		"sgd":       {Optimizer: OptimizerConfig{Kind: SGD, LR: 0.1, WeightDecay: 0.01}},
		"momentum":  {Optimizer: momentum},
		"nesterov":  {Optimizer: OptimizerConfig{Kind: SGD, LR: 0.1, Momentum: 0.9, Nesterov: true, WeightDecay: 0.01}},
		"clip":      {Optimizer: momentum, ClipNorm: 0.2},
		"smoothing": {Optimizer: adamw, LabelSmoothing: 0.1},
		"cosine":    {Optimizer: adamw, Schedule: ScheduleConfig{Kind: Cosine, PerStep: true}},
		"uneven":    {Optimizer: adamw, Batch: 5},
	} {
		if c.Batch == 0 {
			c.Batch = 4
		}
		t.Run(name, func(t *testing.T) { compareRun(t, ds, c, name) })
		// The same gradients, summed over small batches: 2+2 are 4, and 3+2 are 5.
		small := c
		small.Batch, small.Accumulate = 2, 2
		if c.Batch == 5 {
			small.Batch, small.Accumulate = 1, 5
		}
		t.Run(name+"/accumulated", func(t *testing.T) { compareRun(t, ds, small, name) })
	}
}

func compareRun(t *testing.T, ds *data.Dataset, c Config, name string) {
	want, ok := golden(t).Runs[name]
	if !ok {
		t.Fatal("no golden")
	}
	net, store := newLinearNet(12, 3), newStore(t)
	w := make([]float32, 36) // torch's weight is [classes, NCHW features]
	for o := range 3 {
		for i := range 12 {
			w[i*3+o] = float32((7*(o*12+i))%11-5) / 10
		}
	}
	for v, x := range map[*engine.Variable][]float32{net.w: w, net.b: {0.1, -0.2, 0.3}} {
		if err := store.Set(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
	}
	c.Epochs = 3
	var losses, norms []float64
	h := Hooks{Step: func(i StepInfo) { losses, norms = append(losses, i.Loss), append(norms, i.GradNorm) }}
	if _, err := newTrainer(t, net, store, ds, c, h).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	near := func(what string, i int, got, want float64) {
		if math.Abs(got-want) > 2e-6+1e-5*math.Abs(want) {
			t.Errorf("%s[%d] = %.8g, torch %.8g", what, i, got, want)
		}
	}
	if len(losses) != len(want.Losses) {
		t.Fatalf("%d steps, torch %d", len(losses), len(want.Losses))
	}
	for i := range losses {
		near("loss", i, losses[i], want.Losses[i])
	}
	for i := range want.Norms {
		near("norm", i, norms[i], want.Norms[i])
	}
	gotW, gotB := floats(t, store, net.w), floats(t, store, net.b)
	for o := range 3 {
		for i := range 12 {
			near("weight", o*12+i, float64(gotW[i*3+o]), want.Weight[o*12+i])
		}
		near("bias", o, float64(gotB[o]), want.Bias[o])
	}
}
