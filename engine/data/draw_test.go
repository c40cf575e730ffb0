package data

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/wire"
)

func TestOnDevice(t *testing.T) {
	for _, c := range []struct {
		t    Transform
		want bool
	}{
		{Transform{}, true}, {EvalTransform(8), true}, {TrainTransform(40), true},
		{Transform{Size: 9, Jitter: &ColorJitter{Hue: 0.1}, Rotation: 9, HFlip: 1}, true},
		{Transform{Resize: 20}, true}, {Transform{Resize: 21}, false}, {Transform{Size: 8, Resize: 12}, false},
		{Transform{Size: 8, RandomResizedCrop: &ScaleRatio{}}, false}, {Transform{Size: 8, Perspective: 0.1}, false},
	} {
		if got := c.t.OnDevice(20, 30); got != c.want {
			t.Errorf("%+v: %v", c.t, got)
		}
	}
	if (Transform{}).OnDevice(20, maxSide+1) {
		t.Error("an output that is too wide")
	}
}

// jittered is a transform with every stage that a device has.
func jittered() Transform {
	t := hard()
	t.Padding, t.Perspective = 3, 0
	return t
}

// TestLoaderOnDevice checks that batches for the device are those that the
// host's loader has, with the choices that it makes, whatever the workers.
func TestLoaderOnDevice(t *testing.T) {
	s := fashionSet(t).Train.Subset(203)
	o := LoaderOptions{Batch: 16, Shuffle: true, Augment: jittered(), Seed: 5}
	host, err := NewLoader(s, 10, o)
	if err != nil {
		t.Fatal(err)
	}
	o.OnDevice, o.Workers = true, 3
	device, err := NewLoader(s, 10, o)
	if err != nil {
		t.Fatal(err)
	}
	want, got := run(t, host, 2, 3), run(t, device, 2, 3)
	if len(got) != len(want) {
		t.Fatalf("%d batches, not %d", len(got), len(want))
	}
	row := make([]uint32, wire.AugmentParams)
	for i, b := range got {
		if b.Images != nil || b.H != want[i].H || b.N != want[i].N || len(b.Params) != b.N*wire.AugmentParams ||
			!slices.Equal(b.Targets, want[i].Targets) || !slices.Equal(b.Labels, want[i].Labels) || !slices.Equal(b.Index, want[i].Index) {
			t.Fatalf("batch %d differs", i)
		}
		for k, n := range b.Index {
			r := random.New(5, 2, n, random.UseAugment)
			o.Augment.Draw(row, 28, 28, &r)
			if b.Numbers[k] != uint32(n) || !slices.Equal(b.Params[k*wire.AugmentParams:(k+1)*wire.AugmentParams], row) {
				t.Fatalf("image %d of batch %d is drawn otherwise", k, i)
			}
		}
	}
	o.Eval = true
	if device, err = NewLoader(s, 10, o); err != nil {
		t.Fatal(err)
	}
	o.Augment.Draw(row, 28, 28, nil)
	if b := run(t, device, 0, 0)[0]; !slices.Equal(b.Params[:wire.AugmentParams], row) || row[2] != 0 || row[10] != 0 {
		t.Errorf("evaluation draws %v", b.Params[:wire.AugmentParams])
	}
	for want, o := range map[string]LoaderOptions{
		"mixup":       {Batch: 2, OnDevice: true, MixupAlpha: 1},
		"perspective": {Batch: 2, OnDevice: true, Augment: hard()},
	} {
		if l, err := NewLoader(s, 10, o); l != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDrawAllocatesNothing also covers the loader that draws.
func TestDrawAllocatesNothing(t *testing.T) {
	l, err := NewLoader(fashionSet(t).Train, 10, LoaderOptions{Batch: 4, Shuffle: true, Augment: jittered(), Workers: 1, Prefetch: 1, OnDevice: true})
	if err != nil {
		t.Fatal(err)
	}
	e := l.Epoch(t.Context(), 0, 0)
	defer e.Close()
	next := func() {
		if _, err := e.Next(); err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		next()
	}
	if n := testing.AllocsPerRun(100, next); n > 0 {
		t.Errorf("%g allocations a batch", n)
	}
}

func TestUniform(t *testing.T) {
	mixed := mustOpen(t, writeFolder(t, study(t)), Options{CacheDir: t.TempDir()}).Train
	if _, _, ok := mixed.Uniform(); ok {
		t.Error("images of several sizes are called uniform")
	}
	_, err := NewLoader(mixed, 10, LoaderOptions{Batch: 1, OnDevice: true, Augment: EvalTransform(8)})
	if err == nil || !strings.Contains(err.Error(), "several sizes") {
		t.Errorf("got %v", err)
	}
	s := fashionSet(t).Train
	if h, w, ok := s.Uniform(); h != 28 || w != 28 || !ok {
		t.Errorf("%dx%d, %v", h, w, ok)
	}
	if _, _, ok := s.Subset(0).Uniform(); ok {
		t.Error("no images have one size")
	}
}

func BenchmarkDraw(b *testing.B) {
	t, row, i := jittered(), make([]uint32, wire.AugmentParams), 0
	b.ReportAllocs()
	for b.Loop() {
		r := random.New(1, 0, i, random.UseAugment)
		t.Draw(row, 28, 28, &r)
		i++
	}
}
