package fit

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// TestLogitsAreKept: where images do not change, the teachers' logits come from a file, and
// the run is that with the teachers beside it.
func TestLogitsAreKept(t *testing.T) {
	ds, b := fashion(t), backend(t)
	j := distilled(t, ds, "")
	j.Others = append(j.Others, drawn(t, layers.Arch{Family: "cnn-group", Base: 4, Classes: len(ds.Classes)}, 5))
	j.Others[0].Preprocess.Resize = 32 // images of its own
	j.KD = distill.Settings{Spec: "kd:T=2+dkd", Teachers: distill.Confidence}
	j.Config.Train = data.EvalTransform(28)
	losses := func(j Job) (out []float64) {
		t.Helper()
		o, err := Run(context.Background(), b, j)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range o.Result.History {
			out = append(out, e.TrainLoss)
		}
		return out
	}
	want := losses(j)
	j.LogitsDir = filepath.Join(t.TempDir(), "logits")
	got := losses(j)
	// Later epochs stray from each other by what the first one's sums were rounded.
	if len(got) != len(want) || math.Abs(got[0]-want[0]) > 1e-4*want[0] {
		t.Fatalf("with kept logits the losses are %v, without %v", got, want)
	}
	files, err := filepath.Glob(filepath.Join(j.LogitsDir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("kept are %v (%v)", files, err)
	}
	if again := losses(j); !slices.Equal(again, got) {
		t.Errorf("from the files the losses are %v, from the run that wrote them %v", again, got)
	}
	// They are read, and made anew where they are damaged.
	f, err := safetensors.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	zeros := safetensors.FromFloat32("logits", f.Tensors[0].Shape, make([]float32, 50*10))
	if _, err := safetensors.Write(files[0], &safetensors.File{Tensors: []safetensors.Tensor{zeros}}); err != nil {
		t.Fatal(err)
	}
	if other := losses(j); slices.Equal(other, got) {
		t.Error("the file is not read")
	}
	if err := os.WriteFile(files[0], whole[:len(whole)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if again := losses(j); !slices.Equal(again, got) {
		t.Errorf("over a damaged file the losses are %v", again)
	}
	// Images that change, and features, need the teacher itself.
	for name, set := range map[string]func(*Job){
		"flipped":  func(j *Job) { j.Config.Train.HFlip = 0.5 },
		"mixed":    func(j *Job) { j.Config.MixupAlpha = 1 },
		"features": func(j *Job) { j.KD.Spec = "at" },
	} {
		k := j
		k.Config.Epochs, k.LogitsDir = 1, filepath.Join(t.TempDir(), "none")
		set(&k)
		losses(k)
		if _, err := os.Stat(k.LogitsDir); err == nil {
			t.Errorf("%s: logits are kept", name)
		}
	}
}
