package data

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/potstill/potstill/engine/random"
)

// Transform is what one image goes through on its way into a batch. Stages run
// in this order, each as torchvision's transform of the same name does on a PIL
// image:
//
//	Resize → RandomResizedCrop | RandomCrop | CenterCrop → RandomHorizontalFlip
//	→ RandAugment → ColorJitter → RandomRotation → RandomPerspective → /255
//	→ Normalize → RandomErasing
//
// The zero value is pixels/255 at the image's own size. Without a random number
// generator (evaluation) the random stages are left out, and both random crops
// become the center crop.
//
// Crop, flip, rotation, the division by 255 and the normalization are one pass
// over the output: each output pixel is mapped back through the inverse
// rotation to a pixel of the crop, through two small index tables (which hold
// the crop's place, the flip and the reflection at the borders) to a pixel of
// the source, and through a table of 256 floats per channel to its value.
type Transform struct {
	Size       int  // output height and width; 0 keeps the image's own size
	Resize     int  // scale the shorter side to this first, bilinear with antialias; 0: no
	RandomCrop bool // RandomCrop(Size, pad_if_needed=True, padding_mode="symmetric"); else CenterCrop(Size), which pads with zeros
	Padding    int  // symmetric padding on every side before the random crop (torchvision's padding=)

	RandomResizedCrop *ScaleRatio  // replaces RandomCrop: a random part of the image, scaled to Size
	HFlip             float64      // probability of a horizontal flip
	Rotation          float64      // degrees: the angle is uniform in ±Rotation; nearest neighbor, corners filled with 0
	Jitter            *ColorJitter // brightness, contrast, saturation, hue
	Perspective       float64      // distortion scale in [0, 1], applied with probability ½, bilinear, filled with 0
	Mean, Std         []float32    // per channel, of values in [0, 1]; both nil: no normalization

	Width       int          `json:",omitempty"` // output width, where it is not Size
	Gray        bool         `json:",omitempty"` // one channel: torchvision's Grayscale, the last stage before /255
	RandAugment *RandAugment `json:",omitempty"`
	Erase       *Erase       `json:",omitempty"` // RandomErasing
}

// ScaleRatio are RandomResizedCrop's ranges: the share of the area, and the
// aspect ratio (width/height, drawn uniformly in its logarithm). torchvision's
// defaults are {0.08, 1} and {3/4, 4/3}.
type ScaleRatio struct {
	Scale [2]float64
	Ratio [2]float64
}

// ColorJitter are torchvision's ranges: the factors of brightness, contrast and
// saturation are uniform in [max(0, 1-v), 1+v], the hue is shifted by a
// uniform share in [-Hue, Hue] of the circle, Hue ≤ ½. The four are applied in
// random order. A zero leaves its adjustment out.
type ColorJitter struct {
	Brightness, Contrast, Saturation, Hue float64
}

// TrainTransform is the study's training recipe: random crop with symmetric
// padding, horizontal flip, rotation by ±15°, pixels/255.
func TrainTransform(size int) Transform {
	return Transform{Size: size, RandomCrop: true, HFlip: 0.5, Rotation: 15}
}

// EvalTransform is the study's evaluation recipe: center crop, pixels/255.
func EvalTransform(size int) Transform { return Transform{Size: size} }

const maxSide = 1 << 13 // largest output side; keeps 16.16 coordinates in range

// Validate reports the first setting that is out of range.
func (t Transform) Validate() error {
	bad := func(format string, a ...any) error { return fmt.Errorf("data: transform: "+format, a...) }
	switch {
	case t.Size < 0 || t.Size > maxSide:
		return bad("size %d is not in 0…%d", t.Size, maxSide)
	case t.Width < 0 || t.Width > maxSide || t.Width > 0 && t.Size == 0:
		return bad("width %d is not in 0…%d, or there is no size, which is the height", t.Width, maxSide)
	case t.Resize < 0 || t.Resize > maxSide:
		return bad("resize %d is not in 0…%d", t.Resize, maxSide)
	case t.Padding < 0 || t.Padding > maxSide:
		return bad("padding %d is not in 0…%d", t.Padding, maxSide)
	case t.Padding > 0 && !t.RandomCrop:
		return bad("padding needs the random crop")
	case t.Size == 0 && (t.RandomCrop || t.RandomResizedCrop != nil):
		return bad("a random crop needs a size")
	case t.Size == 0 && (t.Rotation != 0 || t.Jitter != nil || t.Perspective != 0 || t.RandAugment != nil || t.Erase != nil):
		return bad("rotation, jitter, perspective, RandAugment and erasing need a size")
	case t.RandomCrop && t.RandomResizedCrop != nil:
		return bad("random crop and random resized crop exclude each other")
	case !(t.HFlip >= 0 && t.HFlip <= 1):
		return bad("flip probability %g is not in 0…1", t.HFlip)
	case !(t.Rotation >= 0 && t.Rotation <= 360):
		return bad("rotation %g is not in 0…360 degrees", t.Rotation)
	case !(t.Perspective >= 0 && t.Perspective <= 1):
		return bad("perspective %g is not in 0…1", t.Perspective)
	}
	if s := t.RandomResizedCrop; s != nil {
		if !(s.Scale[0] > 0 && s.Scale[0] <= s.Scale[1] && s.Scale[1] <= 1) {
			return bad("scale %v is not an ascending range in 0…1", s.Scale)
		}
		if !(s.Ratio[0] > 0 && s.Ratio[0] <= s.Ratio[1] && !math.IsInf(s.Ratio[1], 0)) {
			return bad("ratio %v is not an ascending positive range", s.Ratio)
		}
	}
	if a := t.RandAugment; a != nil && !(a.Ops >= 1 && a.Ops <= maxOps && a.Magnitude >= 0 && a.Magnitude < strengths) {
		return bad("RandAugment takes 1 to %d operations of a magnitude from 0 to %d, not %d of %d", maxOps, strengths-1, a.Ops, a.Magnitude)
	}
	if e := t.Erase; e != nil {
		if !(e.P >= 0 && e.P <= 1) || !(e.Scale[0] > 0 && e.Scale[0] <= e.Scale[1] && e.Scale[1] <= 1) ||
			!(e.Ratio[0] > 0 && e.Ratio[0] <= e.Ratio[1] && !math.IsInf(e.Ratio[1], 0)) {
			return bad("erasing with probability %g of %v of the area at ratios %v: want a probability, an ascending range in 0…1, and an ascending positive one", e.P, e.Scale, e.Ratio)
		}
	}
	if j := t.Jitter; j != nil {
		for _, v := range []float64{j.Brightness, j.Contrast, j.Saturation} {
			if !(v >= 0 && v <= 255) {
				return bad("jitter %g is not in 0…255", v)
			}
		}
		if !(j.Hue >= 0 && j.Hue <= 0.5) {
			return bad("hue jitter %g is not in 0…0.5", j.Hue)
		}
	}
	return t.validateNorm()
}

func (t Transform) validateNorm() error {
	if t.Mean == nil && t.Std == nil {
		return nil
	}
	n := t.Channels()
	if len(t.Mean) != n || len(t.Std) != n {
		return fmt.Errorf("data: transform: mean and std need %s, not %d and %d", map[int]string{1: "one value each", 3: "three values each"}[n], len(t.Mean), len(t.Std))
	}
	for c := range n {
		m, s := float64(t.Mean[c]), float64(t.Std[c])
		if math.IsNaN(m) || math.IsInf(m, 0) || !(s > 0) || math.IsInf(s, 0) {
			return fmt.Errorf("data: transform: mean %g, std %g: want finite numbers, std positive", m, s)
		}
	}
	return nil
}

// Channels returns those of the output: three, or one if Gray.
func (t Transform) Channels() int {
	if t.Gray {
		return 1
	}
	return 3
}

// OutSize returns the output's height and width for an image of h×w.
func (t Transform) OutSize(h, w int) (int, int) {
	if t.Size > 0 {
		return t.Size, cmp.Or(t.Width, t.Size)
	}
	if t.Resize > 0 {
		return shorterSide(h, w, t.Resize)
	}
	return h, w
}

// CheckSize reports an image of h×w that would become too large: one of which no
// part is cropped, as no Size is set, and whose longer side grows with the shorter
// one. With a Size, Apply needs memory for the size alone, whatever the image.
func (t Transform) CheckSize(h, w int) error {
	oh, ow := t.OutSize(h, w)
	if oh < 1 || ow < 1 {
		return fmt.Errorf("its shorter side scaled to %d, a picture of %d×%d pixels has none left: set a size, or leave it out", t.Resize, w, h)
	}
	if ow > maxPixels/oh {
		return fmt.Errorf("its shorter side scaled to %d, a picture of %d×%d pixels grows to %d×%d, more than 100 megapixels: set a size, or leave it out",
			t.Resize, w, h, ow, oh)
	}
	return nil
}

// Apply transforms src into dst, layout HWC (one image of an NHWC batch) of
// Channels channels; dst holds OutSize's height·width·channels values. A nil r means
// evaluation. Every random choice comes from r, and the draws depend only on
// the transform and on src's size. Apply allocates nothing once its pooled
// scratch has grown to the images' size. t must be valid (see Validate).
func (t Transform) Apply(dst []float32, src Image, r *random.Rand) {
	s := scratchPool.Get().(*scratch)
	s.apply(&t, dst, src, r)
	scratchPool.Put(s)
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// scratch is the working memory of one goroutine's transforms.
type scratch struct {
	resizeScratch
	rows, cols       []int32 // source row and column of each row and column of the crop; -1 is zero
	lut              [3][256]float32
	lutReady         bool
	lutMean, lutStd  [3]float32
	lutNormalized    bool
	resized, part    []uint8     // what is needed of the image after Resize, and RandomResizedCrop's part of it
	jittered, turned []uint8     // the crop after the jitter, and after the rotation that a perspective follows
	spare            []uint8     // what RandAugment's operations write to
	rand             random.Rand // of the image or batch under way; here so that it does not escape
	perm             []int       // mixup's partners
	copy             []float32   // mixup's unmixed batch
}

func (s *scratch) apply(t *Transform, dst []float32, src Image, r *random.Rand) {
	h, w := t.OutSize(src.H, src.W)
	ih, iw := t.scaled(src.H, src.W, r == nil)
	c := t.choose(ih, iw, h, w, r)
	s.render(t, dst, src, ih, iw, &c)
}

// render makes the image of a choice: src is scaled to ih×iw and goes through
// the stages behind that.
func (s *scratch) render(t *Transform, dst []float32, src Image, ih, iw int, c *choice) {
	s.prepareLUT(t.Mean, t.Std)
	h, w := t.OutSize(src.H, src.W)
	dst = dst[:h*w*t.Channels()]
	if c.erase.h > 0 {
		defer clearRect(dst, w, t.Channels(), c.erase)
	}
	v := s.crop(c, viewOf(src), ih, iw, h, w)
	if c.jitter[0].kind != 0 || c.randAugment {
		s.jittered = grow(s.jittered, h*w*3)
		s.gather(s.jittered, v, h, w)
		if c.randAugment {
			s.spare = grow(s.spare, h*w*3)
			for _, op := range c.ops {
				if at := op.apply(s.jittered, s.spare, h, w); &at[0] == &s.spare[0] {
					s.jittered, s.spare = s.spare, s.jittered
				}
			}
		}
		for _, a := range c.jitter {
			a.apply(s.jittered)
		}
		v = view{pix: s.jittered, h: h, w: w, stride: w * 3}
		s.identity(h, w)
	}
	if c.perspective || t.Gray {
		s.turned = grow(s.turned, h*w*3)
		s.gatherRotated(s.turned, v, h, w, c.angle)
		pix := s.turned
		if c.perspective {
			s.part = grow(s.part, h*w*3) // whose content has been turned
			perspective(s.part, s.turned, h, w, c.coeffs)
			pix = s.part
		}
		if t.Gray {
			s.toGray(dst, pix)
		} else {
			s.toFloat(dst, pix)
		}
		return
	}
	if c.angle == 0 {
		s.gatherFloat(dst, v, h, w)
		return
	}
	s.gatherFloatRotated(dst, v, h, w, c.angle)
}

// scaled returns the size of an image of h×w after the stage that scales the
// whole image.
func (t *Transform) scaled(h, w int, eval bool) (int, int) {
	short := t.Resize
	if short == 0 && t.RandomResizedCrop != nil && eval {
		short = max(t.Size, t.Width)
	}
	if short == 0 {
		return h, w
	}
	return shorterSide(h, w, short)
}

// crop runs the stages up to the flip, on an image that is to be scaled to ih×iw.
// It returns the source view and leaves the mirrored crop of h×w in s.rows and
// s.cols. Of the scaled image only the part that the crop shows is made.
func (s *scratch) crop(c *choice, v view, ih, iw, h, w int) view {
	s.rows, s.cols = grow(s.rows, h), grow(s.cols, w)
	if p := c.part; p.h > 0 {
		v = s.scale(v, ih, iw, rect(p))
		s.part = grow(s.part, h*w*3)
		s.resize(s.part, v, h, w)
		v = view{pix: s.part, h: h, w: w, stride: w * 3}
		ih, iw = h, w
	}
	y, nh := c.fill(s.rows, c.y, ih)
	x, nw := c.fill(s.cols, c.x, iw)
	if c.flip {
		slices.Reverse(s.cols)
	}
	if c.part.h > 0 {
		return v.sub(y, x, nh, nw)
	}
	return s.scale(v, ih, iw, rect{y, x, nh, nw})
}

// scale returns the part r of v, scaled to h×w.
func (s *scratch) scale(v view, h, w int, r rect) view {
	if v.h == h && v.w == w {
		return v.sub(r.y, r.x, r.h, r.w)
	}
	s.resized = grow(s.resized, r.h*r.w*3)
	s.region(s.resized, v, h, w, r)
	return view{pix: s.resized, h: r.h, w: r.w, stride: r.w * 3}
}

func (s *scratch) identity(h, w int) {
	s.rows, s.cols = grow(s.rows, h), grow(s.cols, w)
	for i := range s.rows {
		s.rows[i] = int32(i)
	}
	for i := range s.cols {
		s.cols[i] = int32(i)
	}
}

// prepareLUT fills the table of (v/255 - mean)/std, in float32 in that order of
// operations, as ToTensor and Normalize compute it.
func (s *scratch) prepareLUT(mean, std []float32) {
	norm := mean != nil
	if len(mean) == 1 { // gray
		mean, std = []float32{mean[0], mean[0], mean[0]}, []float32{std[0], std[0], std[0]}
	}
	if s.lutReady && s.lutNormalized == norm &&
		(!norm || s.lutMean == [3]float32(mean) && s.lutStd == [3]float32(std)) {
		return
	}
	for c := range s.lut {
		for v := range s.lut[c] {
			f := float32(v) / 255
			if norm {
				f -= mean[c]
				f /= std[c]
			}
			s.lut[c][v] = f
		}
	}
	s.lutReady, s.lutNormalized = true, norm
	if norm {
		s.lutMean, s.lutStd = [3]float32(mean), [3]float32(std)
	}
}
