package backendtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(quantizeCases) }

// codes is an input of codes, the extremes among them.
func codes(shape ...int) input {
	return input{engine.Spec{Shape: shape, DType: engine.Uint8}, func(rng *rand.Rand, i int) float64 {
		switch rng.IntN(8) {
		case 0:
			return 0
		case 1:
			return 255
		}
		return float64(rng.IntN(256))
	}}
}

// codesOf returns codes of a scale that differ from case to case.
func codesOf(i int) engine.Codes {
	c := engine.Codes{Scale: 0.0173 * float32(1+i%5), Zero: int32(i * 37 % 256), Hi: 255}
	if i%3 == 1 {
		c.Lo, c.Hi = c.Zero, min(c.Zero+96, 255) // as behind a ReLU6
	}
	return c
}

func quantizeCases() (cases []testCase) {
	for i, s := range [][]int{{1, 1}, {3, 7}, {5, 96}, {70, 44}, {2, 2056}, {40, 700}, {2, 9, 7, 5}} {
		y := codesOf(i)
		half := float64(y.Scale)
		x := scaled(40*half, 0, s...).with(0, 0.5*half, 1.5*half, -0.5*half, 2.5*half, 1e9, -1e9)
		table := codes(256)
		cases = append(cases,
			testCase{label: fmt.Sprint(s), op: engine.Quantize{Y: y}, in: []input{x}},
			testCase{label: fmt.Sprint(s), op: engine.Dequantize{X: y}, in: []input{codes(s...)}},
			testCase{label: fmt.Sprint(s), op: engine.Lookup{}, in: []input{codes(s...), table}})
	}
	return cases
}
