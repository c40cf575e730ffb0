package fit_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// TestVersion1Resumes resumes runs that scripts/golden_v1.sh left in the
// third of four epochs, in files of the first version of the format, and holds
// what they come to to what they would have come to then, bit for bit.
//
// The runs are computed by the reference backend: float64 arithmetic that is
// rounded to float32 once an operator does not depend on the machine, while the
// kernels of package cpu do. Machines that fuse multiplications with additions,
// or have another exp, differ in the last bits of a float64, which hardly ever
// shows; GOAMD64=v3, which fuses wherever Go may, gives the same runs. Mixup is
// left out, for it adds products in float32.
func TestVersion1Resumes(t *testing.T) {
	text, err := os.ReadFile("testdata/v1/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string]string // run, file → Digest of its model
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(160), ds.Val.Subset(60)
	teacher, err := checkpoint.Load("testdata/v1/teacher.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []fit.Job{version1Train(), version1Distill(teacher)} {
		t.Run(j.Name, func(t *testing.T) {
			// The folder also takes new files, so work on a copy.
			j.Data, j.Dir, j.Resume = ds, t.TempDir(), true
			if err := os.CopyFS(j.Dir, os.DirFS(filepath.Join("testdata", "v1", j.Name))); err != nil {
				t.Fatal(err)
			}
			first := 0
			j.Step = func(i train.StepInfo) {
				if first == 0 {
					first = i.Update
				}
			}
			out, err := fit.Run(t.Context(), ref.New(), j)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(out.Result.History); n != 4 || first == 1 {
				t.Errorf("%d epochs, the first step was %d: the run was not resumed", n, first)
			}
			for name, want := range golden[j.Name] {
				if digest(t, filepath.Join(j.Dir, name)) != want {
					t.Errorf("%s is another model than the run came to with version 1", name)
				}
			}
		})
	}
}

// digest returns the Digest of the model in a file.
func digest(t *testing.T, path string) string {
	t.Helper()
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	m, err := c.Restore(store)
	if err != nil {
		t.Fatal(err)
	}
	state, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	return checkpointtest.Digest(state)
}

func version1Net(a layers.Arch) *layers.Net {
	n, err := a.Net()
	if err != nil {
		panic(err)
	}
	return n
}

// version1Train is a run with everything that has a state: an average of the
// weights, the moments, a schedule, every random choice.
func version1Train() fit.Job {
	return fit.Job{
		Name:       "train",
		Net:        version1Net(layers.Arch{Family: "cnn-group", Widths: []int{4, 6, 8, 8, 8, 10}, Classes: 10}),
		Preprocess: checkpoint.Preprocess{Size: 16, Mean: []float32{0.25, 0.25, 0.25}, Std: []float32{0.5, 0.5, 0.5}},
		Config: train.Config{
			Epochs: 4, Batch: 16, Seed: 1, Shuffle: true, EMA: 0.75, ClipNorm: 2, LabelSmoothing: 0.125,
			Optimizer: train.OptimizerConfig{Kind: train.AdamW, LR: 2e-2, WeightDecay: 0.01},
			Schedule:  train.ScheduleConfig{Kind: train.Cosine, Warmup: 3},
			Train: data.Transform{Size: 16, RandomCrop: true, Padding: 1, HFlip: 0.5, Rotation: 15,
				Mean: []float32{0.25, 0.25, 0.25}, Std: []float32{0.5, 0.5, 0.5}},
		},
	}
}

// version1Distill is a run under a teacher, with another optimizer.
func version1Distill(teacher *checkpoint.Checkpoint) fit.Job {
	return fit.Job{
		Name: "distill",
		Net:  version1Net(layers.Arch{Family: "cnn-plain", Widths: []int{3, 4, 5, 4, 6}, Classes: 10}), Teacher: teacher, KD: distill.Settings{T: 4, Alpha: 0.75},
		Config: train.Config{
			Epochs: 4, Batch: 16, Seed: 1, Shuffle: true, Accumulate: 2,
			Optimizer: train.OptimizerConfig{Kind: train.SGD, LR: 0.05, Momentum: 0.9, Nesterov: true},
			Train:     data.TrainTransform(16), Eval: data.EvalTransform(16),
		},
	}
}
