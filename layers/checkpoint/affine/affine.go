// Package affine holds the arithmetic of min/max affine quantization: weights
// as 8-bit codes on the range they span, per tensor or per channel, and as
// 16-bit floats.
//
// The 8-bit rule maps the range [min, max] of the weights linearly onto the
// codes 0 … 255,
//
//	q = roundHalfEven((w - min)/(max - min) · 255)
//	ŵ = q/255 · (max - min) + min
//
// evaluated in float64 in the order written, then rounded once to float32. It
// is the scheme of Jacob et al., "Quantization and Training of Neural Networks
// for Efficient Integer-Arithmetic-Only Inference" (2018), section 2.1, with
// the zero point left real rather than rounded to a code. The result is the
// same on every processor: products and sums are kept from fusing.
//
// The functions know nothing of tensors. Slices are flat, in PyTorch's order
// (OIHW for convolutions, OI for linear layers), and scalars are best left
// unquantized by the caller.
package affine

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine/half"
)

// levels is the largest code.
const levels = 255

// Encode8 quantizes w to 8-bit codes over the range that w spans, and returns
// the codes with that range. Decoding gives back every weight to within
// [Bound8]. Where all weights are equal, every code is zero and min = max, which
// decodes to exactly that weight. An empty w gives no codes and the range 0, 0.
// A NaN or an infinity among the weights is an error.
func Encode8(w []float32) (codes []uint8, min, max float32, err error) {
	codes = make([]uint8, len(w))
	min, max, err = encode8(codes, w)
	if err != nil {
		return nil, 0, 0, err
	}
	return codes, min, max, nil
}

// EncodeChannels8 is [Encode8] with a range for each of the channels that the
// first axis counts: PyTorch's output channels, O of OIHW or of OI. len(w) must
// be a multiple of channels; channel c covers w[c·n : (c+1)·n] with
// n = len(w)/channels, and min[c], max[c] are its range.
func EncodeChannels8(w []float32, channels int) (codes []uint8, min, max []float32, err error) {
	n, err := perChannel(len(w), channels)
	if err != nil {
		return nil, nil, nil, err
	}
	codes = make([]uint8, len(w))
	min, max = make([]float32, channels), make([]float32, channels)
	for c := range channels {
		part := w[c*n : (c+1)*n]
		if min[c], max[c], err = encode8(codes[c*n:(c+1)*n], part); err != nil {
			return nil, nil, nil, fmt.Errorf("channel %d: %w", c, err)
		}
	}
	return codes, min, max, nil
}

// Decode8 writes the weights that the codes stand for on the range [min, max]
// to dst, which must be as long as codes. A range that is not finite, that
// float32 cannot hold, or that is reversed is an error, and leaves dst untouched.
// The ends are float64 because the study's own files have such.
func Decode8(codes []uint8, min, max float64, dst []float32) error {
	if len(dst) != len(codes) {
		return fmt.Errorf("affine: %d codes do not fit a destination of %d weights", len(codes), len(dst))
	}
	if err := checkRange(min, max); err != nil {
		return err
	}
	decode8(codes, min, max, dst)
	return nil
}

// DecodeChannels8 reverses [EncodeChannels8]: channel c of codes, an equal share
// of len(codes)/len(min) of them, is decoded on the range [min[c], max[c]]. min
// and max must be equally long, and dst as long as codes. On an error dst is
// left untouched.
func DecodeChannels8(codes []uint8, min, max []float64, dst []float32) error {
	if len(min) != len(max) {
		return fmt.Errorf("affine: %d minima but %d maxima", len(min), len(max))
	}
	if len(dst) != len(codes) {
		return fmt.Errorf("affine: %d codes do not fit a destination of %d weights", len(codes), len(dst))
	}
	n, err := perChannel(len(codes), len(min))
	if err != nil {
		return err
	}
	for c := range min {
		if err := checkRange(min[c], max[c]); err != nil {
			return fmt.Errorf("channel %d: %w", c, err)
		}
	}
	for c := range min {
		decode8(codes[c*n:(c+1)*n], min[c], max[c], dst[c*n:(c+1)*n])
	}
	return nil
}

// Bound8 returns the largest error that [Encode8] followed by [Decode8] can make
// on a weight in [min, max]: half a step, (max - min)/510, and the rounding of
// the result to float32, at most 2⁻²⁴·max(|min|, |max|) or, for subnormals,
// 2⁻¹⁵⁰, and the far smaller roundings of the float64 arithmetic, for which
// 2⁻⁵⁰·(|min| + |max|) is ample.
func Bound8(min, max float32) float64 {
	lo, hi := float64(min), float64(max)
	largest := math.Max(math.Abs(lo), math.Abs(hi))
	return (hi-lo)/510 + 0x1p-24*largest + 0x1p-150 + 0x1p-50*(math.Abs(lo)+math.Abs(hi))
}

// Encode16 rounds every weight to float16, to nearest with ties to even, and
// returns the bit patterns. The error on a weight is at most 2⁻¹¹·|w|, or 2⁻²⁵
// where that is more. A NaN, an infinity, or a weight that would become one
// (of magnitude 65520 or more) is an error.
func Encode16(w []float32) ([]uint16, error) {
	codes := make([]uint16, len(w))
	for i, v := range w {
		if !finite(v) {
			return nil, notFinite(i, v)
		}
		h := half.ToFloat16(v)
		if !finite(h.Float32()) {
			return nil, fmt.Errorf("affine: weight %d is %g, beyond the ±%d of float16; keep this tensor in 32 bits", i, v, half.MaxFloat16)
		}
		codes[i] = uint16(h)
	}
	return codes, nil
}

// Decode16 writes the values of the float16 bit patterns to dst, exactly. dst
// must be as long as codes.
func Decode16(codes []uint16, dst []float32) error {
	if len(dst) != len(codes) {
		return fmt.Errorf("affine: %d codes do not fit a destination of %d weights", len(codes), len(dst))
	}
	for i, h := range codes {
		dst[i] = half.Float16(h).Float32()
	}
	return nil
}

// encode8 is encode in 8 bits.
func encode8(codes []uint8, w []float32) (min, max float32, err error) {
	return encode(codes, w, levels)
}

// encode writes the codes of w, from 0 to levels, to the equally long codes and returns
// the range.
func encode(codes []uint8, w []float32, levels float64) (min, max float32, err error) {
	if len(w) == 0 {
		return 0, 0, nil
	}
	min, max = w[0], w[0]
	for i, v := range w {
		if !finite(v) {
			return 0, 0, notFinite(i, v)
		}
		if v < min {
			min = v
		}
		if v > max {
			max = v
		}
	}
	lo, span := float64(min), float64(max)-float64(min)
	if span == 0 {
		clear(codes)
		return min, max, nil
	}
	for i, v := range w {
		codes[i] = uint8(math.RoundToEven((float64(v) - lo) / span * levels))
	}
	return min, max, nil
}

// decode8 decodes onto a range that has been checked. The conversion of the
// product forbids a fused multiply-add, which would round differently.
func decode8(codes []uint8, lo, max float64, dst []float32) {
	for i, q := range codes {
		dst[i] = decode1(q, lo, max, levels)
	}
}

// decode1 decodes one code, from 0 to levels.
func decode1(q uint8, lo, max, levels float64) float32 {
	return float32(float64(float64(q)/levels*(max-lo)) + lo)
}

// perChannel returns how many of n weights each channel has.
func perChannel(n, channels int) (int, error) {
	if channels < 1 || n%channels != 0 {
		return 0, fmt.Errorf("affine: %d weights do not divide into %d channels", n, channels)
	}
	return n / channels, nil
}

func checkRange(min, max float64) error {
	if !finite(float32(min)) || !finite(float32(max)) || min > max {
		return fmt.Errorf("affine: the range from %g to %g is not a range of weights", min, max)
	}
	return nil
}

func finite(v float32) bool { return v-v == 0 }

func notFinite(i int, v float32) error {
	return fmt.Errorf("affine: weight %d is %g; only finite weights can be quantized", i, v)
}
