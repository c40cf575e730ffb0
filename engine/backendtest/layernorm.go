package backendtest

import (
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(layerNormCases) }

func layerNormCases() (cases []testCase) {
	shapes := [][]int{{1, 1}, {3, 7}, {33, 1}, {5, 96}, {70, 44}, {2, 768}, {1, 4099}, {1, 14, 15, 96}, {1, 1, 1, 192}}
	for _, s := range append(shapes, imageShapes...) {
		cases = append(cases, layerNormOn(1e-6, "", apart(s...))...)
	}
	cases = append(cases, layerNormOn(1e-2, "_eps1e-2", scaled(0.1, 0, 3, 5, 7, 16))...)
	// A mean far from zero: Σx²/C - μ² in float32 has no digit left.
	cases = append(cases, layerNormOn(1e-5, "_mean1000", scaled(1, 1000, 2, 9, 7, 121))...)
	cases = append(cases, layerNormOn(1e-5, "_mean-300", scaled(0.1, -300, 31, 768))...)
	// Pixels that are constant: the variance is zero.
	flat := input{engine.F32(3, 5, 4, 17), func(_ *rand.Rand, i int) float64 { return 0.3 * float64(i/17) }}
	return append(cases, layerNormOn(1e-5, "_constant", flat)...)
}

// apart is an input whose rows and channels have their own means and spreads.
func apart(shape ...int) input {
	c := shape[len(shape)-1]
	return input{engine.F32(shape...), func(rng *rand.Rand, i int) float64 {
		return (0.5+float64(i%c)/float64(c)+float64(i/c%3))*rng.NormFloat64() + float64(i%c%5) - 2 + float64(i/c%7)
	}}
}

// layerNormOn runs LayerNorm on x, forwards and backwards.
func layerNormOn(eps float32, note string, x input) []testCase {
	c := x.Shape[len(x.Shape)-1]
	label := x.String() + note
	return []testCase{{label: label, op: engine.LayerNorm{Eps: eps}, in: []input{x, gammas(1, c), randn(c)}},
		{label: label, op: engine.LayerNormBackward{Eps: eps}, in: []input{x, randn(x.Shape...), gammas(1, c)}}}
}
