package backendtest

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { register(pointwiseCases) }

func pointwiseCases() (cases []testCase) {
	for _, s := range [][]int{{}, {5}, {3, 11}, {1, 31, 33, 3}, {3, 7, 5, 89}} {
		cases = append(cases, pointwiseOn(s)...)
	}
	return cases
}

// pointwiseOn runs the operators of two tensors of shape s, in which many numbers
// are equal, and some are NaN.
func pointwiseOn(s []int) []testCase {
	a, b, dy := grid(0.5, s...), grid(0.5, s...), randn(s...)
	label := a.String()
	nan := a
	if a.Len() > 20 {
		nan = a.with(math.NaN(), 1, math.NaN())
	}
	return []testCase{
		{label: label, op: engine.Div{}, in: []input{a, scaled(1, 3, s...)}},
		{label: label, op: engine.Maximum{}, in: []input{nan, b}},
		{label: label + "_turned", op: engine.Maximum{}, in: []input{b, nan}},
		{label: label, op: engine.Minimum{}, in: []input{nan, b}},
		{label: label + "_turned", op: engine.Minimum{}, in: []input{b, nan}},
		{label: label, op: engine.ChosenBackward{}, in: []input{a, b, dy}},
		{label: label + "_least", op: engine.ChosenBackward{Least: true}, in: []input{a, b, dy}},
	}
}
