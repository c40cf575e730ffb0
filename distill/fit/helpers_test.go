package fit

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

func load(t *testing.T, path ...string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Load(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func backend(t *testing.T) engine.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// fashion returns a few images of Fashion-MNIST.
func fashion(t *testing.T) *data.Dataset {
	t.Helper()
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	ds.Train, ds.Val = ds.Train.Subset(50), ds.Val.Subset(30)
	return ds
}

// small is a run of three epochs of four steps, the last of them smaller.
func small(ds *data.Dataset, dir string) Job {
	return Job{
		Net:  net(layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}),
		Data: ds,
		Config: train.Config{
			Epochs: 3, Batch: 16, Seed: 7, Shuffle: true, EMA: 0.9,
			Optimizer: train.OptimizerConfig{Kind: train.AdamW, LR: 1e-2, WeightDecay: 0.01},
			Train:     data.TrainTransform(28), Eval: data.EvalTransform(28),
		},
		Dir: dir,
	}
}

// net returns the net of an architecture that is known to be good.
func net(a layers.Arch) *layers.Net {
	n, err := a.Net()
	if err != nil {
		panic(err)
	}
	return n
}

// drawn returns a checkpoint of freshly drawn weights.
func drawn(t *testing.T, a layers.Arch, seed uint64) *checkpoint.Checkpoint {
	t.Helper()
	m, state := checkpointtest.Draw(t, a, seed)
	return &checkpoint.Checkpoint{Net: m.Net(), State: state, Preprocess: checkpoint.Preprocess{Size: 28}}
}

// distilled gives small a teacher whose images are normalized otherwise.
func distilled(t *testing.T, ds *data.Dataset, dir string) Job {
	j := small(ds, dir)
	j.Teacher = drawn(t, layers.Arch{Family: "cnn-plain", Base: 4, Classes: len(ds.Classes)}, 3)
	j.Teacher.Preprocess.Mean = []float32{0.4, 0.5, 0.6}
	j.Teacher.Preprocess.Std = []float32{0.2, 0.25, 0.3}
	j.Config.EMA = 0
	return j
}

var jobs = map[string]func(t *testing.T, ds *data.Dataset, dir string) Job{
	"plain":     func(_ *testing.T, ds *data.Dataset, dir string) Job { return small(ds, dir) },
	"distilled": distilled,
	"sparse": func(_ *testing.T, ds *data.Dataset, dir string) Job {
		j := small(ds, dir)
		j.Sparsity.Strength = 1e-3
		return j
	},
	"growing": func(_ *testing.T, ds *data.Dataset, dir string) Job {
		j := small(ds, dir)
		j.Sparsity = distill.Sparsity{Strength: 1e-3, By: distill.SparseGrowing}
		return j
	},
}

// sameRun compares what two runs have left behind: every byte of best, every
// byte of every tensor of last.
func sameRun(t *testing.T, a, b string) {
	t.Helper()
	if x, y := read(t, a, BestFile), read(t, b, BestFile); !bytes.Equal(x, y) {
		t.Errorf("%s differs", BestFile)
	}
	x, err := safetensors.Read(filepath.Join(a, LastFile))
	if err != nil {
		t.Fatal(err)
	}
	y, err := safetensors.Read(filepath.Join(b, LastFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Tensors) != len(y.Tensors) || len(x.Tensors) == 0 {
		t.Fatalf("%d and %d tensors", len(x.Tensors), len(y.Tensors))
	}
	for i := range x.Tensors {
		if x.Tensors[i].Name != y.Tensors[i].Name || !bytes.Equal(x.Tensors[i].Data, y.Tensors[i].Data) {
			t.Errorf("%s of %s differs", x.Tensors[i].Name, LastFile)
		}
	}
	if n := strings.Count(string(read(t, a, MetricsFile)), "\n"); n != strings.Count(string(read(t, b, MetricsFile)), "\n") {
		t.Errorf("%s has another number of lines: %d", MetricsFile, n)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// oneLine checks that an error is one line that holds all of parts.
func oneLine(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not contain %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}
