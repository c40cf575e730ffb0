package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(linearCases) }

func linearCases() (cases []testCase) {
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {32, 256, 11}, {1, 121, 89}, {3, 1000, 10}, {33, 31, 44}, {5, 16, 1}, {2, 1, 16}} {
		n, i, o := s[0], s[1], s[2]
		x, w, dy, b := randn(n, i), randn(i, o), randn(n, o), randn(o)
		label := fmt.Sprintf("%dx%d_%dx%d", n, i, i, o)
		cases = append(cases,
			testCase{label: label, op: engine.Linear{}, in: []input{x, w}},
			testCase{label: label + "_bias", op: engine.Linear{}, in: []input{x, w, b}},
			testCase{label: label, op: engine.LinearBackwardData{}, in: []input{dy, w}},
			testCase{label: label, op: engine.LinearBackwardWeight{}, in: []input{x, dy}},
			testCase{label: label + "_bias", op: engine.LinearBackwardWeight{Bias: true}, in: []input{x, dy}})
	}
	return cases
}
