package distill

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// TestInt8 evaluates a trained and quantised net in integers and in float32 on
// the same weights: the classes agree on nearly all images, and no logit moves
// by more than 5 % of the logits' range on its image.
func TestInt8(t *testing.T) {
	ds := fashion(t)
	dir := t.TempDir()
	j := small(ds, dir)
	j.Arch = layers.Arch{Family: "cnn-dwpw", Base: 8}
	j.Config.EMA = 0
	if _, err := Train(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	c := load(t, dir, BestFile)
	m, err := layers.New(c.Arch)
	if err != nil {
		t.Fatal(err)
	}
	for _, quant := range []string{checkpoint.Affine8, checkpoint.Affine8PerChannel} {
		t.Run(quant, func(t *testing.T) {
			q := *c
			if q.State, err = checkpoint.Quantise(m, c.State, quant); err != nil {
				t.Fatal(err)
			}
			floats := allLogits(t, ref.New(), &q, ds.Val)
			q.Quant = quant
			ints := allLogits(t, ref.New(), &q, ds.Val)
			agree := 0
			for i, want := range floats {
				far, scale := 0.0, float64(slices.Max(want)-slices.Min(want))
				for k, v := range ints[i] {
					far = max(far, math.Abs(float64(v-want[k])))
				}
				if far > 0.05*scale || far == 0 {
					t.Errorf("image %d: a logit is off by %g, the logits' range is %g", i, far, scale)
				}
				if best(want) == best(ints[i]) {
					agree++
				}
			}
			if agree < len(floats)-1 {
				t.Errorf("%d of %d images get the same class", agree, len(floats))
			}
			sameOnCPU(t, &q, ds.Val, ints)
		})
	}
}

// sameOnCPU holds the processor's integers, if it has them, to the reference's.
func sameOnCPU(t *testing.T, c *checkpoint.Checkpoint, s *data.Split, want [][]float32) {
	b := backend(t)
	if f, ok := b.(engine.Fuser); !ok || !f.Fuses(engine.PointwiseInt8{Max: 6}) {
		t.Logf("%s does not compute in integers", b.Name())
		return
	}
	for i, got := range allLogits(t, b, c, s) {
		for k, v := range got { // a byte may be rounded to its neighbour
			if math.Abs(float64(v-want[i][k])) > 0.01*float64(slices.Max(want[i])-slices.Min(want[i])) {
				t.Fatalf("image %d: logits %v on %s, %v on %s", i, got, b.Name(), want[i], "ref")
			}
		}
	}
}

func best(x []float32) int { return slices.Index(x, slices.Max(x)) }

// allLogits evaluates a checkpoint and returns the logits of every image.
func allLogits(t *testing.T, b engine.Backend, c *checkpoint.Checkpoint, s *data.Split) [][]float32 {
	t.Helper()
	logits := make([][]float32, s.Len())
	_, err := Evaluate(context.Background(), b, c, s, EvalOptions{Batch: 10, Each: func(i int, l []float32) error {
		logits[i] = slices.Clone(l)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}
