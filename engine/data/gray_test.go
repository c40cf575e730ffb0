package data

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// A gray, non-square center crop is torchvision's Grayscale and CenterCrop.
func TestGrayIsTorchvisions(t *testing.T) {
	text, err := os.ReadFile("testdata/randaugment.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		H, W      int
		Pix, Gray []byte
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	tr := Transform{Size: 11, Width: 19, Gray: true}
	dst := make([]float32, 11*19)
	tr.Apply(dst, Image{Pix: g.Pix, H: g.H, W: g.W}, nil)
	for i, v := range g.Gray {
		if dst[i] != float32(v)/255 {
			t.Fatalf("pixel %d is %g, not %d/255", i, dst[i], v)
		}
	}
	tr.Mean, tr.Std = []float32{0.25}, []float32{0.5}
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	tr.Apply(dst, Image{Pix: g.Pix, H: g.H, W: g.W}, nil)
	if want := (float32(g.Gray[7])/255 - 0.25) / 0.5; dst[7] != want {
		t.Errorf("normalized to %g, not %g", dst[7], want)
	}
}

// Whatever its stages, a gray image is the luma of the color image that the same
// random choices make, to the rounding of a byte.
func TestGrayFollowsColor(t *testing.T) {
	src := Image{Pix: make([]uint8, 30*40*3), H: 30, W: 40}
	for i := range src.Pix {
		src.Pix[i] = uint8(i * 31 % 251)
	}
	color := Transform{Size: 20, Width: 28, RandomCrop: true, HFlip: 0.5, Rotation: 20, Perspective: 0.4, RandAugment: &RandAugment{Ops: 1, Magnitude: 9}, Erase: RandomErasing(0.3)}
	gray := color
	gray.Gray = true
	if h, w := gray.OutSize(30, 40); h != 20 || w != 28 || gray.Channels() != 1 || color.Channels() != 3 {
		t.Fatalf("%dx%d", h, w)
	}
	a, b := make([]float32, 20*28*3), make([]float32, 20*28)
	for i := range 50 {
		r := random.New(1, 0, i, random.UseAugment)
		color.Apply(a, src, &r)
		r = random.New(1, 0, i, random.UseAugment)
		gray.Apply(b, src, &r)
		for k := range b {
			p := [3]uint8{}
			for c := range p {
				p[c] = uint8(a[3*k+c]*255 + 0.5)
			}
			if want := float32(luma(p[:])) / 255; b[k] != want {
				t.Fatalf("image %d, pixel %d is %g, not %g", i, k, b[k], want)
			}
		}
	}
}

// Gray and non-square images go through the loader, mixed or not, and with a
// view of another shape in color.
func TestGrayBatches(t *testing.T) {
	s := fashionSet(t).Train.Subset(20)
	tr := Transform{Size: 20, Width: 24, RandomCrop: true, Gray: true}
	view := Transform{Size: 28}
	o := LoaderOptions{Batch: 8, Augment: tr, Views: []Transform{view}, CutMix: 1, Seed: 2}
	l, err := NewLoader(s, 10, o)
	if err != nil {
		t.Fatal(err)
	}
	if h, w, c := l.Shape(); h != 20 || w != 24 || c != 1 {
		t.Errorf("%dx%dx%d", h, w, c)
	}
	if _, _, c := l.ViewShape(0); c != 3 {
		t.Errorf("the view has %d channels", c)
	}
	e := l.Epoch(t.Context(), 0, 0)
	defer e.Close()
	b, err := e.Next()
	if err != nil || b.C != 1 || len(b.Images) != 8*20*24 || len(b.Views[0]) != 8*28*28*3 || slices.Max(b.Images) == 0 {
		t.Errorf("%+v, %v", b, err)
	}
	for name, bad := range map[string]Transform{
		"a width alone":        {Width: 8},
		"three means":          {Size: 8, Gray: true, Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}},
		"one mean of a color":  {Size: 8, Mean: []float32{0}, Std: []float32{1}},
		"a width out of range": {Size: 8, Width: -1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
