package data

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

func noise(h, w int, key int) Image {
	r := random.New(9, 0, key, random.UseOther)
	m := Image{Pix: make([]uint8, h*w*3), H: h, W: w}
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	return m
}

// symmetricLine draws a random crop of size along one axis of n samples, padded
// by pad, and returns the sample that each of the crop's shows.
func symmetricLine(n, size, pad int, r *random.Rand) []int32 {
	idx := make([]int32, size)
	c := choice{symmetric: true, padding: pad}
	first, _ := c.fill(idx, symmetricCrop(n, size, pad, r), n)
	for i := range idx {
		idx[i] += int32(first)
	}
	return idx
}

// slowRecipe is the study's training transform in separate steps, from the
// definitions: pad, crop, flip, rotate each pixel about the center.
func slowRecipe(t Transform, src Image, r *random.Rand) []float32 {
	rows := symmetricLine(src.H, t.Size, t.Padding, r)
	cols := symmetricLine(src.W, t.Size, t.Padding, r)
	n := t.Size
	crop := make([]uint8, n*n*3)
	flip := r.Float64() < t.HFlip
	for y := range n {
		for x := range n {
			sx := cols[x]
			if flip {
				sx = cols[n-1-x]
			}
			copy(crop[(y*n+x)*3:], src.Pix[(int(rows[y])*src.W+int(sx))*3:][:3])
		}
	}
	rad := r.Uniform(-t.Rotation, t.Rotation) * math.Pi / 180
	out := make([]float32, n*n*3)
	c := float64(n) / 2
	for y := range n {
		for x := range n {
			// A counter-clockwise turn of the picture, y downwards.
			px, py := float64(x)+0.5-c, float64(y)+0.5-c
			u := math.Cos(rad)*px - math.Sin(rad)*py + c
			v := math.Sin(rad)*px + math.Cos(rad)*py + c
			if near(u) || near(v) {
				for k := range 3 { // on a pixel's border either side is right
					out[(y*n+x)*3+k] = -1
				}
				continue
			}
			if u >= 0 && v >= 0 && u < float64(n) && v < float64(n) {
				for k := range 3 {
					out[(y*n+x)*3+k] = float32(crop[(int(v)*n+int(u))*3+k]) / 255
				}
			}
		}
	}
	return out
}

func near(v float64) bool { return math.Abs(v-math.Round(v)) < 1e-3 }

func TestFusedPassEqualsSteps(t *testing.T) {
	for _, c := range []struct{ h, w, size, pad int }{{28, 28, 28, 0}, {40, 52, 32, 4}, {9, 70, 31, 0}, {3, 5, 33, 2}, {1, 1, 8, 0}} {
		tr := TrainTransform(c.size)
		tr.Padding = c.pad
		src := noise(c.h, c.w, c.h)
		dst := make([]float32, c.size*c.size*3)
		border := 0
		for sample := range 20 {
			a := random.New(1, 0, sample, random.UseAugment)
			b := a
			tr.Apply(dst, src, &a)
			for i, v := range slowRecipe(tr, src, &b) {
				if v < 0 {
					border++
				} else if dst[i] != v {
					t.Fatalf("%+v, sample %d, value %d: %g, want %g", c, sample, i, dst[i], v)
				}
			}
		}
		if border > 20*len(dst)/50 {
			t.Errorf("%+v: %d values not compared", c, border)
		}
	}
}

// TestEveryStage checks that every combination is a function of its random
// numbers, leaves values in range and none unwritten, and spares its source.
func TestEveryStage(t *testing.T) {
	all := []Transform{
		{}, EvalTransform(20), TrainTransform(20), hard(),
		{Size: 16, Resize: 24}, {Resize: 9}, {Size: 50, Resize: 24},
		{Size: 16, RandomResizedCrop: &ScaleRatio{[2]float64{0.08, 1}, [2]float64{0.75, 4.0 / 3}}, HFlip: 1,
			Jitter: &ColorJitter{Hue: 0.5}, Rotation: 180, Perspective: 1},
		{Size: 24, RandomResizedCrop: &ScaleRatio{[2]float64{0.5, 0.5}, [2]float64{1, 1}}},
		{Size: 24, Resize: 40, RandomCrop: true, Padding: 3, Perspective: 0.5},
	}
	for n, tr := range all {
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		src := noise(23, 37, n)
		keep := slices.Clone(src.Pix)
		h, w := tr.OutSize(src.H, src.W)
		dst, again := make([]float32, h*w*3), make([]float32, h*w*3)
		for sample := range 12 {
			r := random.New(2, 0, sample, random.UseAugment)
			p := &r
			if sample == 0 {
				p = nil
			}
			fill := func(d []float32, r *random.Rand) {
				for i := range d {
					d[i] = float32(math.NaN())
				}
				tr.Apply(d, src, r)
			}
			q := r
			fill(dst, p)
			if p != nil {
				p = &q
			}
			fill(again, p)
			for i, v := range dst {
				if math.IsNaN(float64(v)) || v != again[i] || tr.Mean == nil && (v < 0 || v > 1) {
					t.Fatalf("transform %d, sample %d, value %d: %g and %g", n, sample, i, v, again[i])
				}
			}
		}
		if !slices.Equal(keep, src.Pix) {
			t.Fatalf("transform %d writes to its source", n)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, tr := range map[string]Transform{
		"size -1":          {Size: -1},
		"resize 99999":     {Resize: 99999},
		"needs the random": {Size: 8, Padding: 2},
		"exclude":          {Size: 8, RandomCrop: true, RandomResizedCrop: &ScaleRatio{}},
		"scale":            {Size: 8, RandomResizedCrop: &ScaleRatio{Ratio: [2]float64{1, 1}}},
		"ratio":            {Size: 8, RandomResizedCrop: &ScaleRatio{Scale: [2]float64{1, 1}}},
		"flip":             {HFlip: math.NaN()},
		"rotation -3":      {Size: 8, Rotation: -3},
		"need a size":      {Rotation: 3},
		"perspective 2":    {Size: 8, Perspective: 2},
		"jitter -1":        {Size: 8, Jitter: &ColorJitter{Contrast: -1}},
		"hue":              {Size: 8, Jitter: &ColorJitter{Hue: 0.6}},
		"std positive":     {Mean: make([]float32, 3), Std: make([]float32, 3)},
	} {
		if err := tr.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func benchmarkApply(b *testing.B, tr Transform, side int) {
	src := noise(side, side, 1)
	dst := make([]float32, tr.Size*tr.Size*3)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r := random.New(1, 0, i, random.UseAugment)
		tr.Apply(dst, src, &r)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkTrain28(b *testing.B)  { benchmarkApply(b, TrainTransform(28), 28) }
func BenchmarkTrain128(b *testing.B) { benchmarkApply(b, TrainTransform(128), 128) }
func BenchmarkTrain256(b *testing.B) { benchmarkApply(b, TrainTransform(256), 512) }
func BenchmarkHard128(b *testing.B) {
	t := hard()
	t.Size = 128
	benchmarkApply(b, t, 128)
}
