package data

import (
	"math"

	"github.com/potstill/potstill/engine/random"
)

// Erase is torchvision's RandomErasing (Z. Zhong, L. Zheng, G. Kang, S. Li and
// Y. Yang, "Random erasing data augmentation", AAAI 2020): with a probability, a
// rectangle of the prepared image is set to 0, after the normalization.
// torchvision's defaults are {0.5, {0.02, 0.33}, {0.3, 3.3}}.
type Erase struct {
	P     float64    // probability
	Scale [2]float64 // the rectangle's share of the area
	Ratio [2]float64 // its width over its height, uniform in the logarithm
}

// RandomErasing returns torchvision's ranges with a probability.
func RandomErasing(p float64) *Erase {
	return &Erase{P: p, Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}}
}

// draw chooses the rectangle within an image of h×w, none if its h is 0: after
// ten that do not fit there is none.
func (e *Erase) draw(h, w int, r *random.Rand) (c rect) {
	if r.Float64() >= e.P {
		return c
	}
	lo, hi := math.Log(e.Ratio[0]), math.Log(e.Ratio[1])
	for range 10 {
		area := float64(h*w) * r.Uniform(e.Scale[0], e.Scale[1])
		ratio := math.Exp(r.Uniform(lo, hi))
		eh, ew := int(math.RoundToEven(math.Sqrt(area/ratio))), int(math.RoundToEven(math.Sqrt(area*ratio)))
		if eh > 0 && ew > 0 && eh < h && ew < w {
			return rect{r.IntN(h - eh + 1), r.IntN(w - ew + 1), eh, ew}
		}
	}
	return c
}

// clearRect sets a rectangle of an image, HWC, to 0.
func clearRect(dst []float32, w, channels int, c rect) {
	for y := c.y; y < c.y+c.h; y++ {
		clear(dst[(y*w+c.x)*channels : (y*w+c.x+c.w)*channels])
	}
}
