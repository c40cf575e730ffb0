package gpu

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/engine/wire"
	"github.com/potstill/potstill/layers"
)

// A stepCount is what a step of training has run, and the bytes that it has moved.
type stepCount struct {
	launches, bytes, overlaps int
	work                      []fake.Work
}

// countStep counts a step of cnn-dwpw in bfloat16, on images of so many pixels that
// stay on the card, with products of matrices by cuBLASLt and the rest by kernels of
// ours.
func countStep(t *testing.T, batch, pixels int) stepCount {
	// As many rows a multiprocessor as 256 images give an H200's 132.
	t.Setenv("FAKE_MULTIPROCESSORS", fmt.Sprint(max(batch*132/256, 1)))
	t.Setenv("FAKE_TRAFFIC", "1")
	o := fakeOptions(t)
	o.CacheDir = filepath.Join(fake.Dir(t), "cache-watched")
	b := openBackend(t, o)
	b.prefers = []string{"cublasLt with bias ", "cublasLt bfloat16 ", "cublasLt ", "potstill"}
	m, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: 11})
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	g := engine.NewBuilder(engine.NewGraph())
	set := g.Variable(&engine.Variable{Name: "images", Spec: engine.Spec{Shape: []int{batch, pixels, pixels, 3}, DType: engine.Uint8}})
	table := g.Variable(&engine.Variable{Name: "values", Spec: engine.AugmentTable})
	index := g.Input("index", engine.Spec{Shape: []int{batch}, DType: engine.Uint32})
	params := g.Input("params", engine.Spec{Shape: []int{batch, wire.AugmentParams}, DType: engine.Uint32})
	images := g.One(engine.Augment{Height: pixels, Width: pixels}, set, index, params, table)
	step := train.NewStep(m, train.Config{Optimizer: train.OptimizerConfig{LR: 1e-3, WeightDecay: 1e-2}, Precision: train.BFloat16})
	w, err := step.Build(g, []*engine.Value{images}, 11, 1)
	if err != nil {
		t.Fatal(err)
	}
	step.Tell(train.Moment{First: true, LR: 1e-3}, nil)
	if err := m.Init(store, 1); err != nil {
		t.Fatal(err)
	}
	p, err := g.Graph().Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{w.Loss}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	rows, numbers, target := make([]uint32, params.Len()), make([]uint32, batch), make([]float32, w.Target.Len())
	for i := range batch {
		row := rows[i*wire.AugmentParams:]
		row[wire.AugmentAX], row[wire.AugmentBY] = 1<<16, 1<<16
		row[wire.AugmentX0], row[wire.AugmentY0] = 1<<15, 1<<15
		numbers[i], target[11*i+i%11] = uint32(i), 1
	}
	w.In[index], w.In[params], w.In[w.Target] = engine.Bytes(numbers), engine.Bytes(rows), engine.Bytes(target)
	fake.Worked(t)
	if err := p.Run(context.Background(), w.In); err != nil {
		t.Fatal(err)
	}
	c := stepCount{work: fake.Worked(t)}
	for _, w := range c.work {
		if w.Name == "upload" || w.Name == "download" {
			continue
		}
		c.launches += w.Count
		c.overlaps += w.Overlaps
		c.bytes += w.Read + w.Written
	}
	return c
}

// stepPixels is the environment variable that has TestStepCount take images of another
// size than 32 pixels: of 128, as docs/gpu-results.md has them, it is sixteen times the work.
const stepPixels = "POTSTILL_STEP_PIXELS"

// TestStepCount holds the launches of a step of training, and the bytes that it moves,
// to what they were when docs/gpu-results.md was written.
func TestStepCount(t *testing.T) {
	pixels := 32
	if s := os.Getenv(stepPixels); s != "" {
		if _, err := fmt.Sscan(s, &pixels); err != nil {
			t.Fatalf("%s=%s: %v", stepPixels, s, err)
		}
	}
	two, four := countStep(t, 2, pixels), countStep(t, 4, pixels)
	if two.launches != stepLaunches || four.launches != stepLaunches {
		t.Errorf("%d launches with two images and %d with four, want %d", two.launches, four.launches, stepLaunches)
	}
	each := (four.bytes - two.bytes) / 2
	rest := two.bytes - 2*each
	if math.Abs(float64(each)/stepBytes-1) > 0.01 && pixels == 32 {
		t.Errorf("%d bytes an image, want about %d", each, stepBytes)
	}
	if two.overlaps != stepOverlaps {
		t.Errorf("%d launches may begin before what is earlier has ended, want %d", two.overlaps, stepOverlaps)
	}
	t.Logf("%d launches; %d bytes an image and %d beside: %.0f MB with 256 images", two.launches, each, rest, float64(256*each+rest)/1e6)
	for _, w := range four.work {
		t.Logf("%4d %-32s %10d read %10d written", w.Count, w.Name, w.Read, w.Written)
	}
}

// stepLaunches is how many launches a step takes, of which stepOverlaps may begin before
// what is earlier has ended, and stepBytes how many bytes it moves for each image of 32 pixels.
const (
	stepLaunches = 123
	stepOverlaps = 77
	stepBytes    = 837668
)
