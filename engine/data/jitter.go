package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/wire"
)

// The adjustments, as engine.Augment numbers them; 0 is none.
const (
	brightness = wire.AugmentBrightness
	contrast   = wire.AugmentContrast
	saturation = wire.AugmentSaturation
	hue        = wire.AugmentHue
)

// An adjustment is one step of a jitter: amount is the factor, or the hue's
// shift.
type adjustment struct {
	kind   int
	amount float64
}

// draw chooses the adjustments; they come first, and what is left is none.
func (j *ColorJitter) draw(r *random.Rand) (steps [4]adjustment) {
	var order [4]int
	r.Shuffle(order[:])
	factor := func(v float64) float64 { return r.Uniform(max(0, 1-v), 1+v) }
	n := 0
	add := func(kind int, amount float64) {
		steps[n] = adjustment{kind, amount}
		n++
	}
	for _, k := range order {
		switch {
		case k == 0 && j.Brightness > 0:
			add(brightness, factor(j.Brightness))
		case k == 1 && j.Contrast > 0:
			add(contrast, factor(j.Contrast))
		case k == 2 && j.Saturation > 0:
			add(saturation, factor(j.Saturation))
		case k == 3 && j.Hue > 0:
			add(hue, r.Uniform(-j.Hue, j.Hue))
		}
	}
	return steps
}

// apply adjusts RGB pixels in place.
func (a adjustment) apply(pix []uint8) {
	switch a.kind {
	case brightness:
		adjustBrightness(pix, a.amount)
	case contrast:
		adjustContrast(pix, a.amount)
	case saturation:
		adjustSaturation(pix, a.amount)
	case hue:
		adjustHue(pix, a.amount)
	}
}

// blend is a + f·(b-a) in float32, cut off to 0…255 and truncated, which is how
// PIL mixes two 8-bit images.
func blend(a, b uint8, f float32) uint8 {
	v := float32(a) + float32(f*(float32(b)-float32(a)))
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return uint8(v)
}

// luma is ITU-R 601-2: (19595·R + 38470·G + 7471·B)/65536, rounded.
func luma(p []uint8) uint8 {
	return uint8((uint32(p[0])*19595 + uint32(p[1])*38470 + uint32(p[2])*7471 + 0x8000) >> 16)
}

// adjustBrightness multiplies by f: black mixed with the image.
func adjustBrightness(pix []uint8, f float64) {
	var lut [256]uint8
	for v := range lut {
		lut[v] = blend(0, uint8(v), float32(f))
	}
	for i, v := range pix {
		pix[i] = lut[v]
	}
}

// adjustContrast mixes the image's mean luma, rounded, with the image.
func adjustContrast(pix []uint8, f float64) {
	var sum uint64
	for i := 0; i+3 <= len(pix); i += 3 {
		sum += uint64(luma(pix[i : i+3]))
	}
	n := max(len(pix)/3, 1)
	mean := uint8(float64(sum)/float64(n) + 0.5)
	var lut [256]uint8
	for v := range lut {
		lut[v] = blend(mean, uint8(v), float32(f))
	}
	for i, v := range pix {
		pix[i] = lut[v]
	}
}

// adjustSaturation mixes each pixel's luma with the pixel.
func adjustSaturation(pix []uint8, f float64) {
	for i := 0; i+3 <= len(pix); i += 3 {
		p := pix[i : i+3 : i+3]
		l := luma(p)
		p[0], p[1], p[2] = blend(l, p[0], float32(f)), blend(l, p[1], float32(f)), blend(l, p[2], float32(f))
	}
}

// adjustHue shifts the hue by the share f of the circle, in 8-bit HSV with
// wrap-around: the shift is f·255 truncated, as torchvision has it.
func adjustHue(pix []uint8, f float64) {
	shift := hueShift(f)
	for i := 0; i+3 <= len(pix); i += 3 {
		p := pix[i : i+3 : i+3]
		h, s, v := rgbToHSV(p[0], p[1], p[2])
		p[0], p[1], p[2] = hsvToRGB(h+shift, s, v)
	}
}

func hueShift(f float64) uint8 { return uint8(int32(f * 255)) }

// rgbToHSV is the hexagonal cone of A. R. Smith (1978) in 8 bits per channel,
// truncated, in float32 where PIL uses it.
func rgbToHSV(r, g, b uint8) (h, s, v uint8) {
	hi, lo := max(r, g, b), min(r, g, b)
	if hi == lo {
		return 0, 0, hi
	}
	d := float32(hi - lo)
	rc, gc, bc := float32(hi-r)/d, float32(hi-g)/d, float32(hi-b)/d
	var f float32
	switch hi {
	case r:
		f = bc - gc
	case g:
		f = float32(2 + float64(rc) - float64(bc))
	default:
		f = float32(4 + float64(gc) - float64(rc))
	}
	f = float32(math.Mod(float64(f)/6+1, 1))
	return uint8(float64(f) * 255), uint8(float64(d/float32(hi)) * 255), hi
}

func hsvToRGB(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	fh := float32(float64(h) * 6 / 255)
	i := int(fh)
	f := float64(fh - float32(i))
	fs, val := float64(float32(float64(s)/255)), float64(v)
	p := uint8(math.Round(val * (1 - fs)))
	q := uint8(math.Round(val * (1 - fs*f)))
	t := uint8(math.Round(val * (1 - fs*(1-f))))
	switch i % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}
