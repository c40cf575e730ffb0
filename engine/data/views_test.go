package data

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// randomTransforms have every random stage between them.
func randomTransforms() map[string]Transform {
	crop := TrainTransform(24)
	padded := Transform{Size: 28, RandomCrop: true, Padding: 4, HFlip: 0.5}
	part := Transform{Size: 24, RandomResizedCrop: &ScaleRatio{Scale: [2]float64{0.2, 1}, Ratio: [2]float64{0.75, 1.33}}, HFlip: 0.5}
	resized := Transform{Size: 24, Resize: 26, RandomCrop: true, HFlip: 0.5, Rotation: 10}
	return map[string]Transform{"crop": crop, "padded": padded, "part": part, "resized": resized, "hard": hard()}
}

// A view with the image's own sizes is the image.
func TestViewOfTheSameSizeIsTheImage(t *testing.T) {
	ds := fashionSet(t)
	for name, tr := range randomTransforms() {
		own := Transform{Size: tr.Size, Resize: tr.Resize, Mean: tr.Mean, Std: tr.Std}
		for _, eval := range []bool{false, true} {
			if eval && tr.RandomResizedCrop != nil {
				own.Resize = tr.Size // what evaluation does instead
			}
			l, err := NewLoader(ds.Train, 10, LoaderOptions{Batch: 64, Shuffle: true, Seed: 3, Augment: tr, Views: []Transform{own}, Eval: eval, MixupAlpha: 0.4})
			if err != nil {
				t.Fatal(name, err)
			}
			e := l.Epoch(context.Background(), 1, 0)
			b, err := e.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(b.Images, b.Views[0]) {
				t.Errorf("%s, evaluation %v: the view is another image", name, eval)
			}
			e.Close()
		}
	}
}

// ramp is a smooth picture of which no two places, nor their mirror images, look
// the same.
func ramp(h, w int) Image {
	m := Image{H: h, W: w, Pix: make([]uint8, h*w*3)}
	for y := range h {
		for x := range w {
			p := m.Pix[(y*w+x)*3:]
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			p[0], p[1], p[2] = uint8(250*u), uint8(250*v), uint8(120+100*math.Sin(5*u)*math.Cos(4*v))
		}
	}
	return m
}

// A view of twice the size shows the same part of the picture.
func TestLargerViewShowsTheSame(t *testing.T) {
	src := ramp(120, 90)
	for name, tr := range randomTransforms() {
		tr.Mean, tr.Std = nil, nil
		own := Transform{Size: 2 * tr.Size}
		if tr.RandomResizedCrop == nil {
			tr.Resize = max(tr.Resize, tr.Size+4)
			own.Resize = 2 * tr.Resize
		}
		s := new(scratch)
		n := tr.Size
		small, large := make([]float32, n*n*3), make([]float32, 4*n*n*3)
		for k := range 40 {
			r := random.New(9, 0, k, random.UseAugment)
			s.apply(&tr, small, src, &r)
			r = random.New(9, 0, k, random.UseAugment)
			s.applyView(&tr, &own, large, src, &r)
			same, mirrored := difference(small, large, n, false), difference(small, large, n, true)
			if same > 0.05 || mirrored < 2*same {
				t.Errorf("%s, choice %d: the view differs by %.3f on average, mirrored by %.3f", name, k, same, mirrored)
			}
		}
	}
}

// difference is the mean one of an image of n×n from one of twice the size,
// each four pixels of which are taken together.
func difference(small, large []float32, n int, mirrored bool) float64 {
	sum, m := 0.0, 2*n
	for y := range n {
		for x := range n {
			for c := range 3 {
				at := func(y, x int) float32 {
					if mirrored {
						x = m - 1 - x
					}
					return large[(y*m+x)*3+c]
				}
				mean := (at(2*y, 2*x) + at(2*y, 2*x+1) + at(2*y+1, 2*x) + at(2*y+1, 2*x+1)) / 4
				sum += math.Abs(float64(small[(y*n+x)*3+c] - mean))
			}
		}
	}
	return sum / float64(n*n*3)
}

// In evaluation a view is what its own transform makes.
func TestViewInEvaluation(t *testing.T) {
	src := ramp(50, 70)
	tr, own := TrainTransform(24), Transform{Size: 40, Resize: 44, Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{0.2, 0.2, 0.2}}
	s := new(scratch)
	got, want := make([]float32, 40*40*3), make([]float32, 40*40*3)
	s.applyView(&tr, &own, got, src, nil)
	own.Apply(want, src, nil)
	if !slices.Equal(got, want) {
		t.Error("the view is not what its transform makes")
	}
}

func TestWindowOfAView(t *testing.T) {
	for _, c := range []struct {
		at, pad, viewPad int
		image, view      axis
		want             int
	}{
		{at: 0, image: axis{32, 24}, view: axis{64, 48}, want: 0},
		{at: 8, image: axis{32, 24}, view: axis{64, 48}, want: 16},
		{at: 4, image: axis{32, 24}, view: axis{64, 56}, want: 4},
		{at: -4, pad: 4, viewPad: 8, image: axis{32, 32}, view: axis{64, 64}, want: -8},
		{at: 4, pad: 4, viewPad: 8, image: axis{32, 32}, view: axis{64, 64}, want: 8},
		{at: 0, image: axis{24, 24}, view: axis{30, 20}, want: 5},
	} {
		if got := window(c.at, c.pad, c.viewPad, c.image, c.view); got != c.want {
			t.Errorf("%+v: the window begins at %d, not at %d", c, got, c.want)
		}
	}
}

func TestViewsThatCannotBe(t *testing.T) {
	ds := fashionSet(t)
	for want, o := range map[string]LoaderOptions{
		"no random stages":    {Batch: 2, Views: []Transform{{Size: 20, HFlip: 0.5}}},
		"not made on the dev": {Batch: 2, Views: []Transform{{Size: 20}}, OnDevice: true},
		"is not in 0":         {Batch: 2, Views: []Transform{{Size: -1}}},
	} {
		if _, err := NewLoader(ds.Train, 10, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error is %v, not %q", o, err, want)
		}
	}
}
