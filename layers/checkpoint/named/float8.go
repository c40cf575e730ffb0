package named

import (
	"math"

	"github.com/potstill/potstill/engine/half"
)

// The 8-bit floats of PyTorch. A name gives the bits of exponent and mantissa;
// "fn" is without infinities, "uz" has one zero and one NaN (0x80). The values
// follow the OCP 8-bit Floating Point Specification (OFP8), the OCP Microscaling
// Formats specification for e8m0, and Noune et al., 8-bit Numerical Formats for
// Deep Neural Networks (2022), for the "fnuz" types. Every one is a float32,
// exactly.
var float8s = map[string]*[256]float32{
	"float8_e4m3fn":   float8(3, 7, func(b byte) bool { return b&0x7f == 0x7f }),
	"float8_e4m3fnuz": float8(3, 8, oneNaN),
	"float8_e5m2fnuz": float8(2, 16, oneNaN),
	"float8_e5m2":     float8e5m2(),
	"float8_e8m0fnu":  float8e8m0(),
}

func oneNaN(b byte) bool { return b == 0x80 }

// float8 returns the values of a type with so many bits of mantissa, the given
// bias of the exponent, and no infinities.
func float8(mantissa, bias int, nan func(byte) bool) *[256]float32 {
	var t [256]float32
	for i := range t {
		b := byte(i)
		fraction := float64(b&(1<<mantissa-1)) / float64(int(1)<<mantissa)
		exponent := int(b&0x7f) >> mantissa
		v := math.Ldexp(1+fraction, exponent-bias)
		if exponent == 0 {
			v = math.Ldexp(fraction, 1-bias)
		}
		if b&0x80 != 0 {
			v = math.Copysign(v, -1)
		}
		if nan(b) {
			v = math.NaN()
		}
		t[i] = float32(v)
		if nan(b) && b == 0xff {
			t[i] = math.Float32frombits(math.Float32bits(t[i]) | 1<<31)
		}
	}
	return &t
}

// float8e5m2 returns the upper halves of float16s.
func float8e5m2() *[256]float32 {
	var t [256]float32
	for i := range t {
		t[i] = half.Float16(uint16(i) << 8).Float32()
	}
	return &t
}

// float8e8m0 returns powers of two, without a sign.
func float8e8m0() *[256]float32 {
	var t [256]float32
	for i := range t {
		t[i] = float32(math.Ldexp(1, i-127))
	}
	t[255] = float32(math.NaN())
	return &t
}

// toFloat8 returns the code of the value of the table that is nearest to v, the
// even one of two. What the table holds comes back as it was.
func toFloat8(t *[256]float32, v float32) byte {
	best, least := 0, math.Inf(1)
	for i, x := range t {
		switch far := math.Abs(float64(x) - float64(v)); {
		case math.Float32bits(x) == math.Float32bits(v):
			return byte(i)
		case v != v && x != x && least > 0:
			best, least = i, 0
		case far < least, far == least && i%2 == 0 && best%2 == 1:
			best, least = i, far
		}
	}
	return byte(best)
}
