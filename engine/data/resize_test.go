package data

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// TestRegion holds parts of a scaled picture to the whole one.
func TestRegion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var whole, part resizeScratch
	for range 300 {
		src := noise(1+r.IntN(40), 1+r.IntN(40), 3)
		h, w := 1+r.IntN(60), 1+r.IntN(60)
		if r.IntN(4) == 0 {
			h = src.H
		}
		if r.IntN(4) == 0 {
			w = src.W
		}
		all := make([]uint8, h*w*3)
		whole.resize(all, viewOf(src), h, w)
		c := rect{y: r.IntN(h), x: r.IntN(w)}
		c.h, c.w = 1+r.IntN(h-c.y), 1+r.IntN(w-c.x)
		got := make([]uint8, c.h*c.w*3)
		part.region(got, viewOf(src), h, w, c)
		for y := range c.h {
			if want := all[((c.y+y)*w+c.x)*3:][:c.w*3]; !bytes.Equal(got[y*c.w*3:][:c.w*3], want) {
				t.Fatalf("%dx%d to %dx%d, part %+v, row %d differs from the whole", src.H, src.W, h, w, c, y)
			}
		}
	}
}

// TestThinPictures checks that a picture that would become very long takes memory
// for what is shown of it alone, and shows the right part.
func TestThinPictures(t *testing.T) {
	for _, size := range [][2]int{{1, 20000}, {20000, 1}, {1, 10_000_000}} {
		src := Image{Pix: make([]uint8, 3*size[0]*size[1]), H: size[0], W: size[1]}
		for i := len(src.Pix)/2 - 60; i < len(src.Pix)/2+60; i++ {
			src.Pix[i] = 200 // the middle
		}
		for _, tr := range []Transform{
			{Resize: 256, Size: 224},
			{Resize: 256, Size: 224, RandomCrop: true},
			{Resize: 256, Size: 224, RandomResizedCrop: &ScaleRatio{[2]float64{0.08, 1}, [2]float64{0.75, 1.33}}},
		} {
			s := new(scratch)
			dst := make([]float32, 224*224*3)
			s.apply(&tr, dst, src, nil)
			if m := dst[len(dst)/2+1]; m != 200./255 {
				t.Errorf("%v, %+v: the middle is %g", size, tr, m)
			}
			for sample := range 3 {
				draws := random.New(1, 0, sample, random.UseAugment)
				s.apply(&tr, dst, src, &draws)
			}
			used := cap(s.mid) + cap(s.resized) + cap(s.part) + 4*(cap(s.x.weight)+cap(s.y.weight)+cap(s.x.start)+cap(s.y.start))
			if used > 4<<20 {
				t.Errorf("%v, %+v: %d bytes of scratch", size, tr, used)
			}
		}
	}
}

// TestCheckSize holds pictures without a crop to the limit.
func TestCheckSize(t *testing.T) {
	for _, c := range []struct {
		tr   Transform
		h, w int
		want string
	}{
		{Transform{Resize: 256}, 1, 20000, "grows to 5120000×256"},
		{Transform{Resize: 256}, 90_000_000, 1, "grows to 256×23040000000"},
		{Transform{Resize: 256}, 3000, 4000, ""},
		{Transform{Resize: 256, Size: 224}, 1, 20000, ""},
		{Transform{}, 1, 20000, ""},
	} {
		err := c.tr.CheckSize(c.h, c.w)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v of %d×%d: %v", c.tr, c.h, c.w, err)
		}
	}
}
