package data

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// everything is a transform with all random stages that the loader has.
func everything() Transform {
	t := TrainTransform(28)
	t.RandAugment, t.Erase = &RandAugment{Ops: 2, Magnitude: 9}, RandomErasing(0.5)
	t.Mean, t.Std = []float32{0.3, 0.3, 0.3}, []float32{0.4, 0.4, 0.4}
	return t
}

// epochs returns the batches of an epoch from a step on, as copies.
func epochs(t *testing.T, s *Split, o LoaderOptions, epoch, start int) (out []Batch) {
	t.Helper()
	l, err := NewLoader(s, 10, o)
	if err != nil {
		t.Fatal(err)
	}
	e := l.Epoch(context.Background(), epoch, start)
	defer e.Close()
	for {
		b, err := e.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{N: b.N, Images: slices.Clone(b.Images), Targets: slices.Clone(b.Targets), Index: slices.Clone(b.Index), Labels: slices.Clone(b.Labels)})
	}
}

// What augments and mixes depends on the seed, the epoch and the place alone:
// not on the number of workers, nor on where an epoch is resumed.
func TestEverythingRandomIsRepeatable(t *testing.T) {
	s := fashionSet(t).Train.Subset(150)
	for name, o := range map[string]LoaderOptions{
		"cutmix":   {Batch: 16, Shuffle: true, CutMix: 1},
		"either":   {Batch: 16, Shuffle: true, CutMix: 1, MixupAlpha: 0.4},
		"balanced": {Batch: 16, Balanced: true, CutMix: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			o.Augment, o.Seed, o.Workers = everything(), 5, 1
			want := epochs(t, s, o, 3, 0)
			o.Workers = 4
			got := epochs(t, s, o, 3, 0)
			rest := epochs(t, s, o, 3, 6)
			if len(got) != 10 || len(rest) != 4 {
				t.Fatalf("%d and %d batches", len(got), len(rest))
			}
			for i := range want {
				sameBatch(t, fmt.Sprintf("batch %d by four workers", i), got[i], want[i])
				if i >= 6 {
					sameBatch(t, fmt.Sprintf("batch %d of a resumed epoch", i), rest[i-6], want[i])
				}
			}
			if other := epochs(t, s, o, 4, 0); slices.Equal(other[0].Images, want[0].Images) {
				t.Error("another epoch has the same images")
			}
		})
	}
}

func sameBatch(t *testing.T, what string, a, b Batch) {
	t.Helper()
	if !slices.Equal(a.Images, b.Images) || !slices.Equal(a.Targets, b.Targets) || !slices.Equal(a.Index, b.Index) {
		t.Errorf("%s differs", what)
	}
}

// A batch under CutMix is its images with one rectangle of each from another,
// and its targets are mixed by that rectangle's area.
func TestCutMix(t *testing.T) {
	s := fashionSet(t).Train.Subset(64)
	o := LoaderOptions{Batch: 16, Augment: EvalTransform(28), Seed: 9}
	plain := epochs(t, s, o, 0, 0)
	o.CutMix = 1
	mixed := epochs(t, s, o, 0, 0)
	const px = 28 * 28 * 3
	for i := range plain {
		p, m := plain[i], mixed[i]
		for k := range p.N {
			a, got := p.Images[k*px:(k+1)*px], m.Images[k*px:(k+1)*px]
			partner, area := findPartner(p, a, got, k)
			if partner < 0 {
				t.Fatalf("batch %d: image %d is none with a rectangle of another", i, k)
			}
			lambda := 1 - float64(area)/(28*28)
			sum := 0.0
			for c := range 10 {
				sum += float64(m.Targets[k*10+c])
				want := lambda*float64(p.Targets[k*10+c]) + (1-lambda)*float64(p.Targets[partner*10+c])
				if area >= 0 && math.Abs(float64(m.Targets[k*10+c])-want) > 1e-6 {
					t.Errorf("batch %d, image %d, class %d: target %g, want %g", i, k, c, m.Targets[k*10+c], want)
				}
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Errorf("the targets sum to %g", sum)
			}
		}
	}
	if slices.Equal(plain[0].Images, mixed[0].Images) && slices.Equal(plain[1].Images, mixed[1].Images) {
		t.Error("nothing was mixed")
	}
}

// findPartner returns the image of a batch whose pixels stand where got differs
// from a, and how many pixels the smallest rectangle around these has: -1 where
// the rectangle cannot be told, for a and its partner are alike at its rim.
func findPartner(p Batch, a, got []float32, k int) (partner, area int) {
	y0, y1, x0, x1 := 28, -1, 28, -1
	for i := range got {
		if got[i] != a[i] {
			y, x := i/3/28, i/3%28
			y0, y1, x0, x1 = min(y0, y), max(y1, y), min(x0, x), max(x1, x)
		}
	}
	if y1 < 0 {
		return k, -1
	}
	for o := range p.N {
		b := p.Images[o*28*28*3 : (o+1)*28*28*3]
		ok := true
		for y := y0; y <= y1 && ok; y++ {
			from, to := (y*28+x0)*3, (y*28+x1+1)*3
			ok = slices.Equal(got[from:to], b[from:to])
		}
		if ok {
			return o, -1
		}
	}
	return -1, 0
}

func TestCutRect(t *testing.T) {
	for _, c := range []struct {
		y, x, side float64
		want       rect
	}{
		{0.5, 0.5, 1, rect{0, 0, 20, 40}},
		{0.5, 0.5, 0.5, rect{5, 10, 10, 20}},
		{0, 0.99, 0.5, rect{0, 29, 5, 11}},
		{0.5, 0.5, 0, rect{10, 20, 0, 0}},
	} {
		if got := cutRect(c.y, c.x, c.side, 20, 40); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	s := &scratch{perm: []int{1, 0}}
	pix := []float32{1, 2, 3, 4, 5, 6 /* the other */, 11, 12, 13, 14, 15, 16} // 2×3, one channel
	s.cutPairs(pix, 2, 3, 1, rect{1, 1, 1, 2})
	if want := []float32{1, 2, 3, 4, 15, 16, 11, 12, 13, 14, 5, 6}; !slices.Equal(pix, want) {
		t.Errorf("%v", pix)
	}
}

// Erased pixels are 0 after the normalization, in a rectangle of the asked size.
func TestErase(t *testing.T) {
	src := Image{Pix: make([]uint8, 32*32*3), H: 32, W: 32}
	for i := range src.Pix {
		src.Pix[i] = uint8(40 + i%200)
	}
	tr := Transform{Size: 32, Mean: []float32{0.01, 0.01, 0.01}, Std: []float32{1, 1, 1}, Erase: &Erase{P: 0.5, Scale: [2]float64{0.1, 0.2}, Ratio: [2]float64{0.5, 2}}}
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	erased, dst := 0, make([]float32, 32*32*3)
	for i := range 400 {
		r := random.New(1, 0, i, random.UseAugment)
		tr.Apply(dst, src, &r)
		n, y0, y1, x0, x1 := 0, 32, -1, 32, -1
		for p := range 32 * 32 {
			if dst[3*p] == 0 && dst[3*p+1] == 0 && dst[3*p+2] == 0 {
				n++
				y0, y1, x0, x1 = min(y0, p/32), max(y1, p/32), min(x0, p%32), max(x1, p%32)
			}
		}
		if n == 0 {
			continue
		}
		erased++
		if n != (y1-y0+1)*(x1-x0+1) {
			t.Fatalf("%d pixels are erased between %d, %d and %d, %d", n, y0, x0, y1, x1)
		}
		if share := float64(n) / (32 * 32); share < 0.085 || share > 0.22 {
			t.Errorf("%.3f of the image is erased", share)
		}
	}
	if erased < 160 || erased > 240 {
		t.Errorf("%d of 400 images were erased", erased)
	}
}

// Under balanced sampling every class comes as often, however rare it is.
func TestBalanced(t *testing.T) {
	d := fashionSet(t)
	var at []int
	for i := range d.Train.Len() { // class 0 twenty times as often as class 1
		if l := d.Train.Label(i); l == 0 || l == 1 && i%20 == 0 {
			at = append(at, d.Train.at[i])
		}
	}
	s := &Split{st: d.Train.st, at: at, classes: 10}
	var n [10]int
	seen := make(map[int]bool)
	for epoch := range 4 {
		for _, b := range epochs(t, s, LoaderOptions{Batch: 50, Balanced: true, Augment: EvalTransform(28), Seed: 3}, epoch, 0) {
			for k, l := range b.Labels {
				n[l]++
				seen[b.Index[k]] = true
			}
		}
	}
	if n[0]+n[1] != 4*s.Len() || n[0] < n[1]*9/10 || n[1] < n[0]*9/10 {
		t.Errorf("classes came %v times, of %d images", n, s.Len())
	}
	if len(seen) < s.Len()*8/10 {
		t.Errorf("only %d of %d images came", len(seen), s.Len())
	}
}

func TestNewSettingsAreChecked(t *testing.T) {
	size := func(f func(t *Transform)) Transform {
		tr := TrainTransform(8)
		f(&tr)
		return tr
	}
	for name, tr := range map[string]Transform{
		"no operation":  size(func(t *Transform) { t.RandAugment = &RandAugment{} }),
		"too strong":    size(func(t *Transform) { t.RandAugment = &RandAugment{Ops: 2, Magnitude: 31} }),
		"no size":       {RandAugment: &RandAugment{Ops: 1}},
		"probability":   size(func(t *Transform) { t.Erase = RandomErasing(1.5) }),
		"no area":       size(func(t *Transform) { t.Erase = &Erase{P: 1, Ratio: [2]float64{1, 2}} }),
		"negative area": size(func(t *Transform) { t.Erase = &Erase{P: 1, Scale: [2]float64{-1, 1}, Ratio: [2]float64{1, 2}} }),
	} {
		if tr.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	s := fashionSet(t).Train.Subset(20)
	for name, o := range map[string]LoaderOptions{
		"negative cutmix":  {Batch: 4, CutMix: -1},
		"mixed on device":  {Batch: 4, CutMix: 1, OnDevice: true, Augment: EvalTransform(28)},
		"erased on device": {Batch: 4, OnDevice: true, Augment: everything()},
	} {
		if _, err := NewLoader(s, 10, o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestClassWeights(t *testing.T) {
	s := fashionSet(t).Train.Subset(40)
	w := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 0}
	for _, b := range epochs(t, s, LoaderOptions{Batch: 8, Augment: EvalTransform(28), ClassWeights: w}, 0, 0) {
		for k, l := range b.Labels {
			for c := range 10 {
				want := float32(0)
				if c == int(l) {
					want = w[c]
				}
				if got := b.Targets[k*10+c]; got != want {
					t.Fatalf("target %g of class %d, for an image of class %d", got, c, l)
				}
			}
		}
	}
	for _, bad := range [][]float32{{1, 2}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {-1, 1, 1, 1, 1, 1, 1, 1, 1, 1}} {
		if _, err := NewLoader(s, 10, LoaderOptions{Batch: 8, ClassWeights: bad}); err == nil {
			t.Errorf("weights %v are taken", bad)
		}
	}
	few := &Split{st: s.st, classes: 10}
	for i := range s.Len() {
		if l := s.Label(i); l == 0 || l == 1 && len(few.at) < 12 { // 4 of class 0, 2 of class 1 or so
			few.at = append(few.at, s.at[i])
		}
	}
	n := []int{0, 0}
	for i := range few.Len() {
		n[few.Label(i)]++
	}
	got := few.BalancedWeights(10)
	for c := range 2 {
		if want := float32(few.Len()) / float32(2*n[c]); math.Abs(float64(got[c]-want)) > 1e-6 {
			t.Errorf("class %d has the weight %g, not %g", c, got[c], want)
		}
	}
	if got[9] != 1 {
		t.Errorf("a class without images has the weight %g", got[9])
	}
}
