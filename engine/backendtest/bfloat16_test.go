package backendtest

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// bfloat16Bugs are the mistakes that are easy with sixteen bits.
func bfloat16Bugs() []bug {
	return []bug{
		{name: "a cast that cuts off", stem: "Cast", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if out[0].DType == engine.BFloat16 {
				copy(out[0].V, in[0].V)
				cutOff(out[0].V)
			}
		})},
		{name: "a convolution that cuts off", stem: "Conv2D", eval: then(cutOffOutput)},
		{name: "a BatchNorm that cuts off", stem: "BatchNorm", eval: then(cutOffOutput)},
		{name: "sums of a gradient in bfloat16", stem: "BatchNormBackward", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				cutOff(out[1].V)
			}
		})},
		{name: "statistics in bfloat16", stem: "BatchNormAct", eval: then(func(op engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 && op.(engine.BatchNormAct).BatchNorm.Train {
				cutOff(out[1].V)
			}
		})},
		{name: "two sums in bfloat16, one after the other", stem: "MaxPool2DBackward", eval: on(func(_ engine.Op, in []ref.Array) {
			if in[1].DType == engine.BFloat16 {
				cutOff(in[1].V)
				in[1].V[0] *= 1 + 0x1p-6
			}
		})},
		{name: "a weight in seven bits", stem: "Conv2D", eval: on(func(_ engine.Op, in []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				cutOff(in[1].V)
				cutTo(in[1].V, 18)
			}
		})},
	}
}

// cutOff truncates to bfloat16.
func cutOff(x []float64) { cutTo(x, 16) }

// cutTo clears the lower bits of the float32s.
func cutTo(x []float64, bits int) {
	for i, v := range x {
		x[i] = float64(math.Float32frombits(math.Float32bits(float32(v)) >> bits << bits))
	}
}

func cutOffOutput(_ engine.Op, _, out []ref.Array) {
	if out[0].DType == engine.BFloat16 {
		cutOff(out[0].V)
	}
}
