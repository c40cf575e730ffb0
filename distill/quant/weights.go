package quant

import (
	"math"
	"slices"

	"github.com/potstill/potstill/distill/quant/observe"
	"github.com/potstill/potstill/layers"
)

// weightFake is the quantizer of a weight: signed and symmetric.
func weightFake(bits int, perChannel bool) layers.Fake {
	return layers.Fake{Bits: bits, Signed: true, Symmetric: true, PerChannel: perChannel}
}

// activationFake is the quantizer of an activation: 8 bits with a zero point.
func activationFake() layers.Fake { return layers.Fake{Bits: 8} }

// weightScales returns the scales of a weight in PyTorch's layout, rows of equal
// length: one a row, or one for all. With 8 bits the codes reach the largest
// magnitude, so that nothing is cut off. With fewer, where a step is coarse, each
// range is the one of a hundred narrower ones whose squared error is least.
func weightScales(w []float32, rows, bits int, perChannel bool) []float32 {
	if !perChannel {
		rows = 1
	}
	top := 1<<(bits-1) - 1
	out := make([]float32, rows)
	each := len(w) / rows
	for r := range out {
		row := w[r*each : (r+1)*each]
		a := float32(0)
		for _, v := range row {
			a = max(a, v, -v)
		}
		s, _, _ := observe.Scale(-a, a, -top, top, true) // the weights are finite
		if bits < 8 {
			s = narrowed(row, s, bits)
		}
		out[r] = s
	}
	return out
}

// narrowed returns the scale, of those down to a hundredth of s, with the least
// squared error.
func narrowed(row []float32, s float32, bits int) float32 {
	best, least := s, math.Inf(1)
	lo, hi := layers.Fake{Bits: bits, Signed: true}.Codes()
	for k := 100; k > 20; k-- {
		t := s * float32(k) / 100
		if t < 0x1p-126 {
			break
		}
		e := 0.0
		for _, v := range row {
			q := min(max(math.RoundToEven(float64(v/t)), float64(lo)), float64(hi))
			d := q*float64(t) - float64(v)
			e += d * d
		}
		if e < least {
			best, least = t, e
		}
	}
	return best
}

// biasRoom makes room for a bias, which in steps of the sum's scale s·input must fit
// into 32 bits with room for the sum. One that is far beyond what the layer's output
// can hold, values of up to most, is cut off: it decides the output alone. For others
// the scales of the weight are widened. It returns the bias.
func biasRoom(scale, bias []float32, input, most float32) []float32 {
	const steps = 1 << 29
	out := slices.Clone(bias)
	for c, b := range bias {
		i := min(c, len(scale)-1)
		room := float64(steps) * float64(scale[i]) * float64(input)
		switch size := math.Abs(float64(b)); {
		case size <= room:
		case room > 4*float64(most):
			out[c] = float32(math.Copysign(room, float64(b)))
		default:
			scale[i] = float32(size / (steps * float64(input)))
		}
	}
	return out
}

// rounded returns what a weight's codes stand for.
func rounded(w, scale []float32, f layers.Fake) []float32 {
	q := f.Round(w, scale)
	out := make([]float32, len(w))
	for i, v := range q {
		out[i] = float32(v) * scale[i/(len(w)/len(scale))]
	}
	return out
}

// roundActivation rounds values as the quantizer of an activation does.
func roundActivation(x []float32, q *layers.Quantizer) []float32 {
	lo, hi := q.Codes()
	s, z := q.Scale[0], q.Zero[0]
	out := make([]float32, len(x))
	for i, v := range x {
		c := float32(math.RoundToEven(float64(v/s))) + z
		out[i] = (min(max(c, float32(lo)), float32(hi)) - z) * s
	}
	return out
}

// RoundWeight returns what the codes of a weight stand for: w in PyTorch's layout, of
// so many rows, each with a scale of its own, in so many bits.
func RoundWeight(w []float32, rows, bits int) []float32 {
	return rounded(w, weightScales(w, rows, bits, true), weightFake(bits, true))
}
