package backendtest

import (
	"math"
	"slices"

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
		{name: "a gradient of weights that cuts off", stem: "Conv2DBackwardWeight", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				cutOff(out[0].V)
			}
		})},
		{name: "a gradient of weights in seven bits", stem: "Conv2DBackwardWeight", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				toNearest(out[0].V, 17)
			}
		})},
		{name: "a gradient of a bias in bfloat16", stem: "Conv2DBackwardWeight", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 && len(out) > 1 {
				toNearest(out[1].V, 16)
			}
		})},
		{name: "a gradient of weights in bfloat16 everywhere", stem: "Conv2DBackwardWeight", eval: then(func(_ engine.Op, _, out []ref.Array) {
			toNearest(out[0].V, 16)
		})},
		{name: "two halves of a gradient of weights in bfloat16", stem: "Conv2DBackwardWeight", eval: inHalves},
		{name: "a product cut off before the residual", stem: "Conv2D", eval: inTwo(cutOff)},
		{name: "a product in seven bits before the residual", stem: "Conv2D", eval: inTwo(func(x []float64) { toNearest(x, 17) })},
		{name: "a bias in six bits", stem: "Conv2D", eval: on(func(op engine.Op, in []ref.Array) {
			if in[0].DType == engine.BFloat16 && len(in[len(in)-1].Shape) == 1 {
				toNearest(in[len(in)-1].V, 18)
			}
		})},
		{name: "a product in bfloat16 with float32 activations", stem: "Linear", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.Float32 {
				toNearest(out[0].V, 16)
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

// toNearest rounds away the lower bits of the float32s, as rounding to bfloat16
// does with sixteen.
func toNearest(x []float64, bits int) {
	for i, v := range x {
		u := math.Float32bits(float32(v))
		u += 1<<(bits-1) - 1 + u>>bits&1
		x[i] = float64(math.Float32frombits(u >> bits << bits))
	}
}

// inTwo is a convolution with a residual in bfloat16 whose product is changed
// before bias and residual are added.
func inTwo(change func([]float64)) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
		c := op.(engine.Conv2D)
		if !c.Epilogue.Residual || in[0].DType != engine.BFloat16 {
			return ref.Eval(op, in)
		}
		out, err := ref.Eval(engine.Conv2D{Stride: c.Stride, Pad: c.Pad, Dilation: c.Dilation, Groups: c.Groups}, in[:2])
		if err != nil {
			return nil, err
		}
		y := out[0]
		change(y.V)
		for _, x := range in[2:] {
			for i := range y.V {
				y.V[i] += x.V[i%len(x.V)]
			}
		}
		for i, v := range y.V {
			if c.Epilogue.Act != engine.Identity {
				y.V[i] = math.Max(v, 0)
			}
		}
		return out, nil
	}
}

// inHalves adds up the gradient of weights from its pictures, two sums that are
// rounded to bfloat16 each.
func inHalves(op engine.Op, in []ref.Array) ([]ref.Array, error) {
	if n := in[0].Shape[0]; in[0].DType != engine.BFloat16 || n < 2 {
		return ref.Eval(op, in)
	}
	var sum []ref.Array
	for first := range 2 {
		part := make([]ref.Array, len(in))
		for k, x := range in {
			part[k] = x
			part[k].V = slices.Clone(x.V)
			picture := len(x.V) / x.Shape[0]
			for i := range part[k].V {
				if (i/picture == 0) != (first == 0) {
					part[k].V[i] = 0
				}
			}
		}
		out, err := ref.Eval(op, part)
		if err != nil {
			return nil, err
		}
		toNearest(out[0].V, 16)
		if sum == nil {
			sum = out
			continue
		}
		for k := range sum {
			for i, v := range out[k].V {
				sum[k].V[i] += v
			}
		}
	}
	return sum, nil
}
