// Package half converts between float32 and the two 16-bit floating point
// formats of the field: IEEE 754 binary16 (PyTorch's float16, one sign bit, 5
// of exponent, 10 of fraction) and bfloat16 (one sign bit, 8 of exponent, 7 of
// fraction: the upper half of a float32).
//
// Narrowing rounds to the nearest representable value, and to the one with an
// even fraction when two are equally near, as IEEE 754-2019 section 4.3.1
// prescribes and as PyTorch and the conversion instructions of processors do.
// Widening is exact.
package half

import "math"

// Float16 holds the bits of an IEEE 754 binary16 number.
type Float16 uint16

// BFloat16 holds the bits of a bfloat16 number.
type BFloat16 uint16

// MaxFloat16 is the largest finite binary16 value, (2 - 2⁻¹⁰)·2¹⁵.
const MaxFloat16 = 65504

const (
	f32Sign   = 0x8000_0000
	f32Inf    = 0x7F80_0000
	f16Inf    = 0x7C00
	f16Quiet  = 0x0200
	bf16Quiet = 0x0040

	// f16Normal is the float32 pattern of 2⁻¹⁴, the smallest normal binary16.
	f16Normal = (127 - 14) << 23
	// f16Rebias, subtracted from the bits of a float32, replaces the exponent
	// bias 127 by the 15 of binary16.
	f16Rebias = (127 - 15) << 23
)

// ToFloat16 rounds f to the nearest binary16, ties to even. Magnitudes of
// 65520 and more become infinite; magnitudes of at most 2⁻²⁵ become zero of the
// same sign; results below 2⁻¹⁴ are subnormal, as multiples of 2⁻²⁴. A NaN
// stays a NaN: sign and upper fraction bits are kept and the quiet bit is set.
func ToFloat16(f float32) Float16 {
	bits := math.Float32bits(f)
	sign := Float16(bits >> 16 & 0x8000)
	bits &^= f32Sign
	switch {
	case bits > f32Inf:
		return sign | f16Inf | f16Quiet | Float16(bits>>13&0x3FF)
	case bits < f16Normal:
		return sign | subnormal16(bits)
	}
	// A fraction that rounds up to 2 carries into the exponent, which is right;
	// so is the carry from the largest finite value into infinity.
	rounded := roundShift(bits-f16Rebias, 13)
	if rounded >= f16Inf {
		return sign | f16Inf
	}
	return sign | Float16(rounded)
}

// Overflows reports whether f is finite and rounds to an infinite binary16.
func Overflows(f float32) bool {
	return math.Float32bits(f)&^f32Sign < f32Inf && ToFloat16(f)&0x7FFF == f16Inf
}

// subnormal16 rounds the positive float32 with the given bits, which is below
// 2⁻¹⁴, to a multiple of 2⁻²⁴ and returns that multiple.
func subnormal16(bits uint32) Float16 {
	exponent := bits >> 23
	// The value is significand·2^(exponent-150); as a multiple of 2⁻²⁴ it is
	// significand·2^(exponent-126). Below 2⁻²⁵ every value rounds to zero.
	if exponent < 102 {
		return 0
	}
	significand := bits&0x007F_FFFF | 0x0080_0000
	return Float16(roundShift(significand, 126-exponent))
}

// roundShift returns v/2ⁿ rounded to the nearest integer, ties to even, for
// 1 ≤ n ≤ 24 and v below 2³¹.
func roundShift(v, n uint32) uint32 {
	even := v >> n & 1
	return (v + (1<<(n-1) - 1) + even) >> n
}

// Float32 returns the value of h, exactly. Signs of zeros, infinities, and the
// sign and fraction of a NaN are kept.
func (h Float16) Float32() float32 {
	sign := uint32(h&0x8000) << 16
	fraction := uint32(h & 0x3FF)
	switch exponent := uint32(h >> 10 & 0x1F); exponent {
	case 0:
		f := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	case 0x1F:
		return math.Float32frombits(sign | f32Inf | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}

// ToBFloat16 rounds f to the nearest bfloat16, ties to even. Subnormals are
// rounded like every other value; finite values beyond the range become
// infinite. A NaN stays a NaN: sign and upper fraction bits are kept and the
// quiet bit is set.
func ToBFloat16(f float32) BFloat16 {
	bits := math.Float32bits(f)
	if bits&^f32Sign > f32Inf {
		return BFloat16(bits>>16) | bf16Quiet
	}
	even := bits >> 16 & 1
	return BFloat16((bits + 0x7FFF + even) >> 16)
}

// Float32 returns the value of b, exactly.
func (b BFloat16) Float32() float32 {
	return math.Float32frombits(uint32(b) << 16)
}
