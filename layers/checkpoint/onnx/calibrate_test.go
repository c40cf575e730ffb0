package onnx

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// pixels returns n images of the tests' formula, NHWC.
func pixels(n int) []float32 {
	const hw = testSize * testSize
	out := make([]float32, n*hw*3)
	for i := range out {
		b, ch, p := i/(3*hw), i/hw%3, i%hw
		out[(b*hw+p)*3+ch] = float32(i*7919%256) / 255
	}
	return out
}

func once(images ...[]float32) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		for _, x := range images {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func calibrate(t *testing.T, c *checkpoint.Checkpoint, o Options) Ranges {
	t.Helper()
	r, err := Calibrate(context.Background(), ref.New(), c, o, once(pixels(3), pixels(18)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCalibrate compares ranges with those of values computed on their own.
func TestCalibrate(t *testing.T) {
	c := sample(t, small(t, "resnet18"), "")
	got := calibrate(t, c, Options{})
	m, err := c.Net.Model()
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNet(m, 18, testSize)
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	if err := m.Load(store, c.State); err != nil {
		t.Fatal(err)
	}
	for v, name := range n.names {
		if v == n.input || n.inner(v) {
			if _, ok := got[name]; ok {
				t.Errorf("a range for %s", name)
			}
			continue
		}
		p, err := n.graph.Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{v}})
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, v.Len())
		if err := errors.Join(p.Run(context.Background(), engine.Bindings{n.input: engine.Bytes(pixels(18))}), p.Read(v, engine.Bytes(x)), p.Close()); err != nil {
			t.Fatal(err)
		}
		if r := got[name]; math.Abs(float64(r.Min-slices.Min(x))) > 1e-4 || math.Abs(float64(r.Max-slices.Max(x))) > 1e-4 {
			t.Errorf("%s: %v, want %g to %g", name, r, slices.Min(x), slices.Max(x))
		}
	}
	for what, images := range map[string]iter.Seq2[[]float32, error]{
		"there are no images":  once(),
		"are not whole images": once(pixels(1)[1:]),
		"disk on fire":         func(yield func([]float32, error) bool) { yield(nil, errors.New("disk on fire")) },
		"is NaN on an image":   once([]float32(slices.Repeat([]float32{float32(math.NaN())}, 3*testSize*testSize))),
	} {
		if _, err := Calibrate(context.Background(), ref.New(), c, Options{}, images); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q", err, what)
		}
	}
}

// TestCalibrateLimits: images whose activations would not fit are refused before
// anything is allocated for them; large ones are run fewer at a time.
func TestCalibrateLimits(t *testing.T) {
	c := sample(t, small(t, "cnn-plain"), "")
	_, err := Calibrate(context.Background(), ref.New(), c, Options{Size: maxSize}, once())
	if err == nil || !strings.Contains(err.Error(), "choose a smaller size") {
		t.Errorf("error %v", err)
	}
	m, err := layers.New(layers.Arch{Family: "cnn-plain", Classes: 2, Base: 1})
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(refused{ref.New()})
	if _, err := newCalibrator(m, store, 2048); err == nil || !strings.Contains(err.Error(), "6x2048x2048x3") {
		t.Errorf("error %v, want one from the backend for batches of 6", err)
	}
}

// refused compiles nothing, and says what for.
type refused struct{ engine.Backend }

func (refused) Compile(_ engine.Op, in, _ []engine.Spec) (engine.Kernel, error) {
	return nil, errors.New(in[0].String())
}

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
