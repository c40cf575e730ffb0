package data

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func fashionSet(t testing.TB) *Dataset {
	t.Helper()
	d, err := Open(context.Background(), "builtin:fashion", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func hard() Transform {
	t := TrainTransform(30)
	t.Jitter = &ColorJitter{0.4, 0.4, 0.4, 0.1}
	t.Perspective = 0.4
	t.Mean, t.Std = []float32{0.4, 0.5, 0.6}, []float32{0.2, 0.3, 0.4}
	return t
}

func clone(b *Batch) Batch {
	c := *b
	c.Images, c.Targets = slices.Clone(b.Images), slices.Clone(b.Targets)
	c.Labels, c.Index = slices.Clone(b.Labels), slices.Clone(b.Index)
	c.Numbers, c.Params = slices.Clone(b.Numbers), slices.Clone(b.Params)
	return c
}

func run(t *testing.T, l *Loader, epoch, start int) (out []Batch) {
	t.Helper()
	e := l.Epoch(context.Background(), epoch, start)
	defer e.Close()
	for {
		b, err := e.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, clone(b))
	}
}

func equal(a, b Batch) bool {
	return a.N == b.N && slices.Equal(a.Images, b.Images) && slices.Equal(a.Targets, b.Targets) &&
		slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Index, b.Index)
}

func TestLoaderIsReproducible(t *testing.T) {
	s := fashionSet(t).Train.Subset(203)
	var want []Batch
	for _, workers := range []int{1, 2, 7} {
		for _, ahead := range []int{1, 5} {
			l, err := NewLoader(s, 10, LoaderOptions{Batch: 16, Shuffle: true, Augment: hard(), Seed: 5,
				Workers: workers, Prefetch: ahead, MixupAlpha: 0.2})
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, l, 2, 0)
			if want == nil {
				want = got
			}
			if len(got) != l.Steps() || l.Steps() != 13 || got[12].N != 203-12*16 {
				t.Fatalf("%d batches, the last of %d", len(got), got[len(got)-1].N)
			}
			for i := range got {
				if !equal(got[i], want[i]) {
					t.Fatalf("%d workers, %d ahead: batch %d differs", workers, ahead, i)
				}
			}
			for _, start := range []int{1, 6, 12, 13} {
				tail := run(t, l, 2, start)
				if !slices.EqualFunc(tail, want[start:], equal) {
					t.Fatalf("resumed at %d: other batches than the whole epoch has", start)
				}
			}
			if equal(run(t, l, 3, 0)[0], want[0]) {
				t.Error("two epochs are alike")
			}
		}
	}
}

// TestLoaderCovers checks that an epoch is every image once with its own label
// and, unaugmented, its own pixels, and that targets are sound under mixup.
func TestLoaderCovers(t *testing.T) {
	s := fashionSet(t).Val
	l, err := NewLoader(s, 10, LoaderOptions{Batch: 64, Shuffle: true, Augment: EvalTransform(28)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, b := range run(t, l, 0, 0) {
		for k, i := range b.Index {
			seen[i] = true
			if int(b.Labels[k]) != s.Label(i) || b.Targets[k*10+s.Label(i)] != 1 {
				t.Fatalf("image %d has another label", i)
			}
			px := b.Images[k*28*28*3 : (k+1)*28*28*3]
			for j, v := range s.Image(i).Pix {
				if px[j] != float32(v)/255 {
					t.Fatalf("image %d has other pixels", i)
				}
			}
		}
	}
	if len(seen) != s.Len() {
		t.Fatalf("%d images of %d", len(seen), s.Len())
	}
	l, err = NewLoader(s, 10, LoaderOptions{Batch: 10, Augment: EvalTransform(28), MixupAlpha: 1, DropLast: true})
	if err != nil {
		t.Fatal(err)
	}
	mixed := 0
	for _, b := range run(t, l, 0, 0) {
		for k := range b.N {
			sum := 0.0
			for _, v := range b.Targets[k*10 : k*10+10] {
				sum += float64(v)
				if v > 0 && v < 1 {
					mixed++
				}
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Fatalf("targets sum to %g", sum)
			}
		}
	}
	if mixed == 0 {
		t.Error("mixup mixed nothing")
	}
}

func TestLoaderKeepsTwoBatches(t *testing.T) {
	l, err := NewLoader(fashionSet(t).Train.Subset(400), 10, LoaderOptions{Batch: 8, Augment: TrainTransform(28), Workers: 3, Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, l, 0, 0)
	e := l.Epoch(context.Background(), 0, 0)
	defer e.Close()
	var before *Batch
	for i := range want {
		b, err := e.Next()
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !equal(*before, want[i-1]) {
			t.Fatalf("batch %d did not survive the next call", i-1)
		}
		before = b
	}
}

func TestLoaderAllocatesNothing(t *testing.T) {
	tr := hard()
	tr.Resize = 32
	l, err := NewLoader(fashionSet(t).Train, 10, LoaderOptions{Batch: 4, Shuffle: true, Augment: tr, Workers: 1, Prefetch: 1, MixupAlpha: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := l.Epoch(context.Background(), 0, 0)
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

func TestLoaderStops(t *testing.T) {
	l, err := NewLoader(fashionSet(t).Train, 10, LoaderOptions{Batch: 32, Augment: TrainTransform(28)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := l.Epoch(ctx, 0, 0)
	if _, err := e.Next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := e.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	e.Close()
	e.Close()
	if _, err := e.Next(); err == nil {
		t.Error("a closed epoch goes on")
	}
}

func TestLoaderErrors(t *testing.T) {
	s := fashionSet(t).Train.Subset(20)
	for _, c := range []struct {
		o       LoaderOptions
		classes int
		want    string
	}{
		{LoaderOptions{}, 10, "want at least 1"},
		{LoaderOptions{Batch: 2}, 9, "only 9 classes"},
		{LoaderOptions{Batch: 2, MixupAlpha: math.NaN()}, 10, "mixup"},
		{LoaderOptions{Batch: 2, Augment: Transform{RandomCrop: true}}, 10, "needs a size"},
		{LoaderOptions{Batch: 2, Augment: Transform{Size: 8, Mean: []float32{1}}}, 10, "three values"},
	} {
		if _, err := NewLoader(s, c.classes, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestSubset(t *testing.T) {
	s := fashionSet(t).Train.Subset(55)
	n := make([]int, 10)
	for i := range s.Len() {
		n[s.Label(i)]++
	}
	if s.Len() != 55 || slices.Min(n) != 5 || slices.Max(n) != 6 {
		t.Errorf("%d images, classes %v", s.Len(), n)
	}
}
