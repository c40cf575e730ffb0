package backendtest

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// normBugs are wrong in what is normalized together, and with what.
func normBugs() []bug {
	return []bug{
		{name: "C-1 for C in the variance of a pixel", stem: "LayerNorm", eval: then(func(_ engine.Op, in, out []ref.Array) {
			c := len(in[1].V)
			for i, v := range out[0].V {
				out[0].V[i] = (v-in[2].V[i%c])*math.Sqrt(float64(c-1)/float64(c)) + in[2].V[i%c]
			}
		})},
		{name: "a pixel normalized without Eps", stem: "LayerNorm", eval: as(func(op engine.LayerNorm) engine.LayerNorm { op.Eps /= 2; return op })},
		{name: "one-pass variance of a pixel", stem: "LayerNorm", eval: then(onePassPixel)},
		{name: "a pixel's dy without γ", stem: "LayerNormBackward", eval: then(func(op engine.Op, in, out []ref.Array) {
			in = []ref.Array{in[0], in[1], ref.NewArray(in[2].Spec)}
			for i := range in[2].V {
				in[2].V[i] = 1
			}
			if plain, err := ref.Eval(op, in); err == nil {
				out[0] = plain[0]
			}
		})},
		{name: "dγ and dβ exchanged", stem: "LayerNormBackward", eval: then(func(_ engine.Op, _, out []ref.Array) { out[1].V, out[2].V = out[2].V, out[1].V })},
		{name: "all images normalized together", stem: "GroupNorm", eval: together},
		{name: "the channels of a group apart from one another", stem: "GroupNorm", eval: strided},
		{name: "r of the first image", stem: "GroupNormBackward", eval: on(func(_ engine.Op, in []ref.Array) {
			for i := range in[4].V {
				in[4].V[i] = in[4].V[i%in[4].Shape[1]]
			}
		})},
		{name: "the mean of x̂·g left out", stem: "GroupNormBackward", eval: then(func(_ engine.Op, in, out []ref.Array) {
			c := in[0].Shape[3]
			picture, each := len(in[0].V)/in[0].Shape[0], c/in[3].Shape[1]
			at := func(i int) int { return i/picture*in[3].Shape[1] + i%c/each }
			m := float64(picture / in[3].Shape[1])
			sums := make([]float64, len(in[3].V))
			xhat := func(i int) float64 { return (in[0].V[i] - in[3].V[at(i)]) * in[4].V[at(i)] }
			for i, dy := range in[1].V {
				sums[at(i)] += dy * in[2].V[i%c] * xhat(i)
			}
			for i := range out[0].V {
				out[0].V[i] += in[4].V[at(i)] * xhat(i) * sums[at(i)] / m
			}
		})},
		{name: "statistics of groups in bfloat16", stem: "GroupNorm", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				cutOff(out[1].V)
			}
		})},
		{name: "sums of a pixel's gradient in bfloat16", stem: "LayerNormBackward", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if in[0].DType == engine.BFloat16 {
				cutOff(out[2].V)
			}
		})},
	}
}

// onePassPixel computes y with 1/√(Σx²/C - μ² + eps) in float32.
func onePassPixel(op engine.Op, in, out []ref.Array) {
	x, c := in[0].V, len(in[1].V)
	for row := 0; row < len(x); row += c {
		var s, q float32
		for _, v := range x[row : row+c] {
			s += float32(v)
			q += float32(v) * float32(v)
		}
		mean := s / float32(c)
		v := max(q/float32(c)-mean*mean, 0)
		r := 1 / math.Sqrt(float64(v+op.(engine.LayerNorm).Eps))
		for k := range c {
			out[0].V[row+k] = (x[row+k]-float64(mean))*r*in[1].V[k] + in[2].V[k]
		}
	}
}

// together normalizes a batch as if it were one image.
func together(op engine.Op, in []ref.Array) ([]ref.Array, error) {
	want, err := ref.Eval(op, in)
	if err != nil {
		return nil, err
	}
	x := in[0]
	s := x.Shape
	x.Shape = []int{1, s[0] * s[1], s[2], s[3]}
	got, err := ref.Eval(op, []ref.Array{x, in[1], in[2]})
	if err != nil {
		return nil, err
	}
	want[0].V = got[0].V
	return want, nil
}

// strided puts the channels k, k+Groups, k+2·Groups... into a group.
func strided(op engine.Op, in []ref.Array) ([]ref.Array, error) {
	g, c := op.(engine.GroupNorm).Groups, in[0].Shape[3]
	x, err := ref.Eval(engine.ChannelShuffle{Groups: c / g}, in[:1])
	if err != nil {
		return nil, err
	}
	ones, zeros := ref.NewArray(in[1].Spec), ref.NewArray(in[1].Spec)
	for i := range ones.V {
		ones.V[i] = 1
	}
	out, err := ref.Eval(op, []ref.Array{x[0], ones, zeros})
	if err != nil {
		return nil, err
	}
	y, err := ref.Eval(engine.ChannelShuffle{Groups: g}, out[:1])
	if err != nil {
		return nil, err
	}
	for i := range y[0].V {
		out[0].V[i] = y[0].V[i]*in[1].V[i%c] + in[2].V[i%c]
	}
	return out, nil
}
