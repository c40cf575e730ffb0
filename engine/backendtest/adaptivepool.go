package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { register(adaptiveCases) }

func adaptiveCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1, 1, 1}, {3, 5, 7, 3}, {1, 13, 14, 16}, {2, 3, 5, 89}, {1, 8, 6, 32}} {
		for _, size := range []engine.Pair{engine.Both(1), {2, 3}, {7, 7}, {3, 1}, {4, 6}} {
			cases = append(cases, adaptiveOn(s, size)...)
		}
	}
	return cases
}

// adaptiveOn runs the adaptive pools to so many pixels on x of shape s, forwards
// and backwards. Where there are more windows than pixels, and where the pixels do
// not divide among them, windows overlap.
func adaptiveOn(s []int, size engine.Pair) []testCase {
	a, x := engine.Adaptive{Size: size}, randn(s...)
	label := fmt.Sprintf("%v_to_%v", x, size)
	dy := randn(s[0], size[0], size[1], s[3])
	ties := grid(0.5, s...)
	return []testCase{
		{label: label, op: engine.AdaptiveAvgPool2D{Adaptive: a}, in: []input{x}},
		{label: label, op: engine.AdaptiveAvgPool2DBackward{Adaptive: a, X: x.Spec}, in: []input{dy}},
		{label: label, op: engine.AdaptiveMaxPool2D{Adaptive: a}, in: []input{x}},
		{label: label + "_NaN", op: engine.AdaptiveMaxPool2D{Adaptive: a}, in: []input{ties.with(math.NaN(), math.Inf(-1))}},
		{label: label + "_ties", op: engine.AdaptiveMaxPool2DBackward{Adaptive: a}, in: []input{ties, dy}},
		{label: label, op: engine.AdaptiveMaxPool2DBackward{Adaptive: a}, in: []input{x, dy}},
	}
}
