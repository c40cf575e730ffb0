package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/wire"
)

// A choice is everything random about one image's way through a transform, and
// what is decided with it: the place of the crop.
type choice struct {
	part        rect // RandomResizedCrop's, scaled to the output's size; none if h is 0
	y, x        int  // the crop's first row and column in the image, or in the scaled part
	symmetric   bool // the image goes on by reflection, after padding; else it ends in zeros
	padding     int
	flip        bool
	randAugment bool
	ops         [maxOps]raOp // of RandAugment
	erase       rect         // of the output; none if h is 0
	jitter      [4]adjustment
	angle       float64 // degrees, counter-clockwise
	perspective bool
	coeffs      [8]float64
	warp        random.Rand // as it was before the perspective was drawn
}

// choose draws the choice for an image of ih×iw, as it is after Resize, and an
// output of h×w. It draws in the order of the stages. A nil r is evaluation.
func (t *Transform) choose(ih, iw, h, w int, r *random.Rand) (c choice) {
	switch {
	case r != nil && t.RandomResizedCrop != nil:
		p := &c.part
		p.y, p.x, p.h, p.w = t.RandomResizedCrop.draw(ih, iw, r)
	case r != nil && t.RandomCrop:
		c.symmetric, c.padding = true, t.Padding
		c.y = symmetricCrop(ih, h, t.Padding, r)
		c.x = symmetricCrop(iw, w, t.Padding, r)
	case t.Size > 0:
		c.y, c.x = centerCrop(ih, h), centerCrop(iw, w)
	}
	if r == nil {
		return c
	}
	c.flip = t.HFlip > 0 && r.Float64() < t.HFlip
	if t.RandAugment != nil {
		c.randAugment, c.ops = true, t.RandAugment.draw(r)
	}
	if t.Jitter != nil {
		c.jitter = t.Jitter.draw(r)
	}
	if t.Rotation > 0 {
		c.angle = r.Uniform(-t.Rotation, t.Rotation)
	}
	if t.Perspective > 0 && r.Float64() < 0.5 {
		c.perspective, c.warp = true, *r
		c.coeffs = randomPerspective(w, h, t.Perspective, r)
	}
	if t.Erase != nil {
		c.erase = t.Erase.draw(h, w, r)
	}
	return c
}

// OnDevice reports whether engine.Augment can do what the transform does to
// images of h×w: all but scaling, perspective, RandAugment, erasing and gray.
func (t Transform) OnDevice(h, w int) bool {
	oh, ow := t.OutSize(h, w)
	if t.Resize > 0 {
		if nh, nw := shorterSide(h, w, t.Resize); nh != h || nw != w {
			return false
		}
	}
	return t.RandomResizedCrop == nil && t.Perspective == 0 && t.RandAugment == nil && t.Erase == nil && !t.Gray && min(oh, ow) > 0 && max(oh, ow) <= maxSide
}

// Draw makes the random choices that Apply would make with the same r for an
// image of h×w, and writes them to dst: one row of the params of
// engine.Augment, wire.AugmentParams words. The transform must be OnDevice. A
// nil r means evaluation. engine.Augment then makes, to the bit, the image that
// Apply makes. Draw allocates nothing.
func (t Transform) Draw(dst []uint32, h, w int, r *random.Rand) {
	oh, ow := t.OutSize(h, w)
	c := t.choose(h, w, oh, ow, r)
	dst = dst[:wire.AugmentParams]
	clear(dst)
	dst[wire.AugmentY], dst[wire.AugmentX] = uint32(c.y), uint32(c.x)
	if c.flip {
		dst[wire.AugmentFlags] |= wire.AugmentFlip
	}
	if c.symmetric {
		dst[wire.AugmentFlags] |= wire.AugmentSymmetric
		dst[wire.AugmentPadding] = uint32(c.padding)
	}
	x0, ax, bx, y0, ay, by := rotation(oh, ow, c.angle)
	for i, v := range [6]int32{x0, ax, bx, y0, ay, by} {
		dst[wire.AugmentX0+i] = uint32(v)
	}
	for i, a := range c.jitter {
		dst[wire.AugmentOrder] |= uint32(a.kind) << (8 * i)
		switch a.kind {
		case brightness, contrast, saturation:
			dst[wire.AugmentOrder+a.kind] = math.Float32bits(float32(a.amount))
		case hue:
			dst[wire.AugmentOrder+a.kind] = uint32(hueShift(a.amount))
		}
	}
}

// Table returns what the bytes of each channel become: v/255, less the mean, over
// the standard deviation. It is the table of engine.Augment, layout
// [wire.AugmentChannels,wire.AugmentLevels].
func (t Transform) Table() []float32 {
	s := new(scratch)
	s.prepareLUT(t.Mean, t.Std)
	table := make([]float32, 0, wire.AugmentChannels*wire.AugmentLevels)
	for c := range s.lut {
		table = append(table, s.lut[c][:]...)
	}
	return table
}
