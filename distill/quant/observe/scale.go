package observe

import (
	"fmt"
	"math"
)

// tiny is the least normal float32.
const tiny = 0x1p-126

// Scale returns the scale s and the zero point z by which the integers from qmin
// to qmax, which include 0, stand for the real numbers from lo to hi:
//
//	x ≈ s·(q - z)    s = (hi - lo)/(qmax - qmin)    z = round(qmin - lo/s)
//
// The range is widened to hold 0, and with sym to [-a, a], where z is the rounded
// middle of qmin and qmax. It is computed in float64; s is rounded to float32 once,
// and halves are rounded to even. Where s would be below the least normal
// float32, as in a range of nothing but 0, s is 1 and z is 0. The ends must be
// finite, and lo at most hi.
func Scale(lo, hi float32, qmin, qmax int, sym bool) (s float32, z int, err error) {
	switch {
	case lo-lo != 0 || hi-hi != 0:
		return 0, 0, fmt.Errorf("a range from %g to %g; its ends must be finite", lo, hi)
	case lo > hi:
		return 0, 0, fmt.Errorf("a range from %g down to %g; its ends are inverted", lo, hi)
	case qmin > 0 || qmax < 0 || qmin >= qmax:
		return 0, 0, fmt.Errorf("integers from %d to %d; 0 must be among them", qmin, qmax)
	}
	lo, hi = min(lo, 0), max(hi, 0)
	if sym {
		lo, hi = symmetric(lo, hi)
	}
	wide := (float64(hi) - float64(lo)) / (float64(qmax) - float64(qmin))
	switch {
	case wide < tiny:
		return 1, 0, nil
	case sym:
		return float32(wide), int(math.RoundToEven(float64(qmin+qmax) / 2)), nil
	}
	return float32(wide), int(math.RoundToEven(float64(qmin) - float64(lo)/wide)), nil
}
