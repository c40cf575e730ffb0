package backendtest

import (
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(batchNormCases) }

// imageShapes serve the ops that treat every pixel alike.
var imageShapes = [][]int{
	{1, 1, 2, 1}, {1, 3, 1, 3}, {3, 5, 7, 3}, {1, 31, 33, 16}, {1, 33, 31, 1}, {3, 7, 7, 44},
	{2, 3, 5, 89}, {1, 4, 4, 121}, {5, 2, 2, 256}, {1, 31, 31, 32}, {1, 3, 3, 257}, {2, 1, 3, 1028},
}

func batchNormCases() (cases []testCase) {
	train := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
	eval := engine.BatchNorm{Eps: 1e-5}
	for _, s := range imageShapes {
		c := s[3]
		// Channels with their own means and spreads.
		x := input{engine.F32(s...), func(rng *rand.Rand, i int) float64 {
			k := float64(i % c)
			return (0.5+k/float64(c))*rng.NormFloat64() + float64(i%c%5) - 2
		}}
		cases = append(cases, batchNormOn(train, "", x)...)
		cases = append(cases, batchNormOn(eval, "", x)...)
	}
	odd := train
	odd.Eps, odd.Momentum = 1e-3, 0.37
	cases = append(cases, batchNormOn(odd, "_eps1e-3", randn(3, 5, 7, 16))...)
	// A mean far from zero: Σx²/M - μ² in float32 has no digit left.
	cases = append(cases, batchNormOn(train, "_mean1000", scaled(1, 1000, 2, 9, 7, 16))...)
	cases = append(cases, batchNormOn(train, "_mean-300", scaled(0.1, -300, 1, 31, 33, 3))...)
	// Channels that are constant: the variance is zero.
	flat := input{engine.F32(3, 5, 4, 3), func(_ *rand.Rand, i int) float64 { return 0.3 * float64(i%3) }}
	cases = append(cases, batchNormOn(train, "_constant", flat)...)
	for _, s := range [][]int{{1, 1, 1, 1}, {3, 3, 3, 16}, {1, 1, 44, 89}, {7, 7, 3, 16}, {3, 3, 1, 121}} {
		o := s[3]
		w, v := randn(s...), []input{gammas(1, o), randn(o), randn(o), positive(o)}
		cases = append(cases,
			testCase{label: w.String(), op: engine.FoldBatchNorm{Eps: 1e-5}, in: append([]input{w}, v...), fused: true},
			testCase{label: w.String() + "_bias", op: engine.FoldBatchNorm{Eps: 1e-5, Bias: true},
				in: append([]input{w, randn(o)}, v...), fused: true})
	}
	return cases
}

// batchNormOn runs op on x, forwards and backwards.
func batchNormOn(op engine.BatchNorm, note string, x input) []testCase {
	c := x.Shape[3]
	label := "train_"
	var back testCase
	if op.Train {
		back = testCase{op: engine.BatchNormBackward{}, in: []input{x, randn(x.Shape...), gammas(1, c), randn(c), positive(c)},
			prepare: func(in []ref.Array) { in[3].V, in[4].V = stats(op, in[0]) }}
	} else {
		label = "eval_"
		back = testCase{op: engine.BatchNormEvalBackward{Eps: op.Eps},
			in: []input{x, randn(x.Shape...), gammas(1, c), randn(c), positive(c)}}
	}
	label += x.String() + note
	back.label = label
	return []testCase{{label: label, op: op, in: []input{x, gammas(1, c), randn(c), randn(c), positive(c)}}, back}
}

// stats returns the statistics μ and r of x that BatchNorm hands to its gradient.
func stats(op engine.BatchNorm, x ref.Array) (mean, r []float64) {
	v := ref.NewArray(engine.F32(x.Shape[3]))
	out, err := ref.Eval(op, []ref.Array{x, v, v, v, v})
	if err != nil {
		panic(err) // a programmer's error in the table
	}
	return out[1].V, out[2].V
}
