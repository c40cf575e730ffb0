package eval_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

func TestPredictAgreesWithEvaluate(t *testing.T) {
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	ds.Train = ds.Train.Subset(50)
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	m, state := checkpointtest.Draw(t, layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: 10}, 1)
	c := &checkpoint.Checkpoint{Net: m.Net(), State: state, Preprocess: checkpoint.Preprocess{Size: 28}}
	var images []data.Image
	for i := range ds.Train.Len() {
		images = append(images, ds.Train.Image(i))
	}
	got, err := eval.Predict(context.Background(), b, c, images)
	if err != nil || len(got) != len(images) {
		t.Fatal(len(got), err)
	}
	_, err = eval.Evaluate(context.Background(), b, c, ds.Train, eval.Options{Batch: 7, Each: func(i int, logits []float32) error {
		for k, v := range logits {
			if math.Abs(float64(v-got[i][k])) > 1e-5 {
				t.Errorf("image %d: %v and %v", i, logits, got[i])
				break
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Preprocess = checkpoint.Preprocess{} // images at their own sizes
	wide := data.Image{Pix: make([]uint8, 32*40*3), H: 32, W: 40}
	got, err = eval.Predict(context.Background(), b, c, []data.Image{images[0], wide, images[1], images[2]})
	if err != nil || len(got) != 4 || len(got[3]) != 10 {
		t.Fatal(len(got), err)
	}
	_, err = eval.Predict(context.Background(), b, c, []data.Image{{H: 3, W: 3, Pix: wide.Pix[:5]}})
	if err == nil || !strings.Contains(err.Error(), "image 0") {
		t.Errorf("an image without pixels: %v", err)
	}
}
