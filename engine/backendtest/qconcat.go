package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(qconcatCases) }

func qconcatCases() (cases []testCase) {
	for _, s := range append([][]int{{1, 1}, {3, 7}, {70, 44}}, imageShapes...) {
		in := []input{codes(s...)}
		for _, c := range []int{1, 5, 32} {
			wide := append([]int{}, s...)
			wide[len(wide)-1] = c
			in = append(in, codes(wide...))
		}
		cases = append(cases, testCase{label: fmt.Sprint(s), op: engine.QConcat{}, in: in})
		if len(s) == 4 {
			cases = append(cases, testCase{label: fmt.Sprint(s), op: engine.QFlatten{}, in: in[:1]})
		}
	}
	return cases
}
