package onnx

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/data"
)

// TestImages takes images of a data set as a net is evaluated on them.
func TestImages(t *testing.T) {
	ctx := context.Background()
	ds, err := data.Open(ctx, "builtin:fashion", data.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	var all []float32
	for batch, err := range Images(ctx, ds.Val, data.EvalTransform(28), 20) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
	}
	want := make([]float32, 28*28*3)
	last := ds.Val.Subset(20).Image(19)
	data.EvalTransform(28).Apply(want, last, nil)
	if len(all) != 20*len(want) || !slices.Equal(all[19*len(want):], want) {
		t.Errorf("%d values; the last image is not as it should be", len(all))
	}
	for range Images(ctx, ds.Val, data.EvalTransform(28), 100) {
		break // leaves nothing running, which the race detector and Close would tell
	}
	for _, err := range Images(ctx, ds.Val, data.EvalTransform(28), 0) {
		if !errors.Is(err, errNoImages) {
			t.Errorf("error %v", err)
		}
	}
	for _, err := range Images(ctx, ds.Val, data.Transform{Size: -1}, 5) {
		if err == nil {
			t.Error("a transform to -1 pixels")
		}
	}
}
