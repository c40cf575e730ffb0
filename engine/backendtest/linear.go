package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(linearCases) }

func linearCases() (cases []testCase) {
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {32, 256, 11}, {1, 121, 89}, {3, 1000, 10}, {33, 31, 44}, {5, 16, 1}, {2, 1, 16}} {
		cases = append(cases, linearOn(s[0], s[1], s[2])...)
	}
	return cases
}

// linearOn runs a linear layer from n×i to n×o, forwards and backwards.
func linearOn(n, i, o int) []testCase {
	x, w, dy, b := randn(n, i), randn(i, o), randn(n, o), randn(o)
	label := fmt.Sprintf("%dx%d_%dx%d", n, i, i, o)
	return []testCase{
		{label: label, op: engine.Linear{}, in: []input{x, w}},
		{label: label + "_bias", op: engine.Linear{}, in: []input{x, w, b}},
		{label: label, op: engine.LinearBackwardData{}, in: []input{dy, w}},
		{label: label, op: engine.LinearBackwardWeight{}, in: []input{x, dy}},
		{label: label + "_bias", op: engine.LinearBackwardWeight{Bias: true}, in: []input{x, dy}},
	}
}
