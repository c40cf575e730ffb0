package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(preluCases) }

func preluCases() (cases []testCase) {
	for _, s := range append([][]int{{1, 1}, {3, 7}, {5, 96}, {2, 2056}, {300, 3}}, imageShapes...) {
		cases = append(cases, preluOn(s, s[len(s)-1])...)
		if s[len(s)-1] > 1 {
			cases = append(cases, preluOn(s, 1)...)
		}
	}
	return cases
}

// preluOn runs PReLU with so many slopes, forwards and backwards. Some x are zero.
func preluOn(s []int, slopes int) []testCase {
	x, w, dy := grid(0.25, s...), gammas(0.5, slopes), randn(s...)
	label := fmt.Sprintf("%v_%d", x.Spec, slopes)
	return []testCase{
		{label: label, op: engine.PReLU{}, in: []input{x, w}},
		{label: label, op: engine.PReLUBackward{}, in: []input{x, w, dy}},
	}
}
