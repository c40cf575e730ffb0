package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
)

// RandAugment applies Ops operations in turn, each drawn from the fourteen of
// torchvision's RandAugment, at one strength (E. D. Cubuk, B. Zoph, J. Shlens and
// Q. V. Le, "RandAugment: practical automated data augmentation with a reduced
// search space", 2020):
//
//	identity, shear and translation along either axis, rotation, brightness,
//	color, contrast, sharpness, posterize, solarize, autocontrast, equalize
//
// Geometric operations take the nearest pixel and fill with 0. torchvision's
// defaults are {2, 9}.
type RandAugment struct {
	Ops       int // operations an image, 1…8
	Magnitude int // strength, 0…30
}

const (
	maxOps    = 8
	strengths = 31 // magnitudes from 0 to 30
)

// The operations of RandAugment, in torchvision's order.
const (
	raIdentity = iota
	raShearX
	raShearY
	raTranslateX
	raTranslateY
	raRotate
	raBrightness
	raColor
	raContrast
	raSharpness
	raPosterize
	raSolarize
	raAutoContrast
	raEqualize
	raKinds
)

// An raOp is one operation as it was drawn.
type raOp struct {
	kind   int
	amount float64 // with its sign; of translations, the share of the side
}

// draw chooses the operations; what is left is identity.
func (a *RandAugment) draw(r *random.Rand) (ops [maxOps]raOp) {
	for i := range a.Ops {
		op := raOp{kind: r.IntN(raKinds)}
		negative := r.IntN(2) == 1 // drawn for all, so that a draw costs the same
		op.amount = a.amount(op.kind)
		if signed := op.kind >= raShearX && op.kind <= raSharpness; signed && negative {
			op.amount = -op.amount
		}
		ops[i] = op
	}
	return ops
}

// amount is the strength of an operation in its own unit.
func (a *RandAugment) amount(kind int) float64 {
	share := float64(a.Magnitude) / (strengths - 1)
	switch kind {
	case raShearX, raShearY:
		return 0.3 * share
	case raTranslateX, raTranslateY:
		return 150.0 / 331 * share
	case raRotate:
		return 30 * share
	case raBrightness, raColor, raContrast, raSharpness:
		return 0.9 * share
	case raPosterize:
		return 8 - math.RoundToEven(4*share)
	case raSolarize:
		return 255 - 255*share
	}
	return 0
}

// apply does the operation to an RGB image of h×w, pix, and returns where the
// result is: in pix or in tmp, which is as large.
func (op raOp) apply(pix, tmp []uint8, h, w int) []uint8 {
	switch op.kind {
	case raShearX:
		affine(tmp, pix, h, w, [6]float64{1, op.amount, 0, 0, 1, 0})
		return tmp
	case raShearY:
		affine(tmp, pix, h, w, [6]float64{1, 0, 0, op.amount, 1, 0})
		return tmp
	case raTranslateX:
		affine(tmp, pix, h, w, [6]float64{1, 0, -math.Trunc(op.amount * float64(w)), 0, 1, 0})
		return tmp
	case raTranslateY:
		affine(tmp, pix, h, w, [6]float64{1, 0, 0, 0, 1, -math.Trunc(op.amount * float64(h))})
		return tmp
	case raRotate:
		turn(tmp, pix, h, w, op.amount)
		return tmp
	case raBrightness:
		adjustBrightness(pix, 1+op.amount)
	case raColor:
		adjustSaturation(pix, 1+op.amount)
	case raContrast:
		adjustContrast(pix, 1+op.amount)
	case raSharpness:
		sharpen(tmp, pix, h, w, 1+op.amount)
		return tmp
	case raPosterize:
		mask := uint8(0xFF) << (8 - int(op.amount))
		for i := range pix {
			pix[i] &= mask
		}
	case raSolarize:
		for i, v := range pix {
			if float64(v) >= op.amount {
				pix[i] = 255 - v
			}
		}
	case raAutoContrast:
		eachChannel(pix, autoContrast)
	case raEqualize:
		eachChannel(pix, equalize)
	}
	return pix
}

// affine writes for each output pixel (x, y) the source pixel (m0·x + m1·y + m2,
// m3·x + m4·y + m5), both measured to their middles, in PIL's 16.16 fixed point;
// 0 where there is none.
func affine(dst, src []uint8, h, w int, m [6]float64) {
	fix := func(v float64) int32 { return int32(math.Floor(v*65536 + 0.5)) }
	turnFixed(dst, src, h, w,
		fix(m[2]+m[0]*0.5+m[1]*0.5), fix(m[0]), fix(m[1]), fix(m[5]+m[3]*0.5+m[4]*0.5), fix(m[3]), fix(m[4]))
}

// turn rotates by degrees about the center.
func turn(dst, src []uint8, h, w int, degrees float64) {
	x0, ax, bx, y0, ay, by := rotation(h, w, degrees)
	turnFixed(dst, src, h, w, x0, ax, bx, y0, ay, by)
}

func turnFixed(dst, src []uint8, h, w int, x0, ax, bx, y0, ay, by int32) {
	for y := range h {
		out := dst[y*w*3 : (y+1)*w*3]
		xx, yy := x0, y0
		for x := 0; x < len(out); x += 3 {
			o := out[x : x+3 : x+3]
			ix, iy := int(xx>>16), int(yy>>16)
			xx += ax
			yy += ay
			if uint(ix) < uint(w) && uint(iy) < uint(h) {
				copy(o, src[(iy*w+ix)*3:])
			} else {
				o[0], o[1], o[2] = 0, 0, 0
			}
		}
		x0 += bx
		y0 += by
	}
}

// sharpen mixes the image, smoothed by PIL's SMOOTH (the middle of 3×3 pixels
// five times, over 13; the rim as it is), with the image.
func sharpen(dst, src []uint8, h, w int, f float64) {
	copy(dst, src)
	row := w * 3
	for y := 1; y < h-1; y++ {
		for i := y*row + 3; i < (y+1)*row-3; i++ {
			sum := 4 * int(src[i])
			for _, k := range [3]int{i - row, i, i + row} {
				sum += int(src[k-3]) + int(src[k]) + int(src[k+3])
			}
			dst[i] = uint8((2*sum + 13) / 26) // sum/13, rounded; it is never halfway
		}
	}
	for i, v := range dst[:h*row] {
		dst[i] = blend(v, src[i], float32(f))
	}
}

// eachChannel maps the bytes of each channel through a table made of their
// histogram.
func eachChannel(pix []uint8, table func(n *[256]int) [256]uint8) {
	for c := range 3 {
		var n [256]int
		for i := c; i < len(pix); i += 3 {
			n[pix[i]]++
		}
		t := table(&n)
		for i := c; i < len(pix); i += 3 {
			pix[i] = t[pix[i]]
		}
	}
}

func identityTable() (t [256]uint8) {
	for i := range t {
		t[i] = uint8(i)
	}
	return t
}

// autoContrast stretches the values that occur to 0…255, truncated.
func autoContrast(n *[256]int) [256]uint8 {
	lo, hi := 0, 255
	for lo < 255 && n[lo] == 0 {
		lo++
	}
	for hi > 0 && n[hi] == 0 {
		hi--
	}
	t := identityTable()
	if hi <= lo {
		return t
	}
	scale := 255 / float64(hi-lo)
	offset := float64(-lo) * scale
	for i := range t {
		t[i] = uint8(min(max(math.Trunc(float64(float64(i)*scale)+offset), 0), 255))
	}
	return t
}

// equalize spreads the values that occur evenly, as PIL's ImageOps.equalize.
func equalize(n *[256]int) [256]uint8 {
	sum, kinds, last := 0, 0, 0
	for _, v := range n {
		if v > 0 {
			sum, kinds, last = sum+v, kinds+1, v
		}
	}
	t := identityTable()
	step := (sum - last) / 255
	if kinds <= 1 || step == 0 {
		return t
	}
	at := step / 2
	for i := range t {
		t[i] = uint8(min(at/step, 255))
		at += n[i]
	}
	return t
}
