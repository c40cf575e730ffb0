package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(reshapeCases) }

func reshapeCases() (cases []testCase) {
	for _, s := range [][2][]int{
		{{1}, {}}, {{}, {1, 1}}, {{6, 4}, {2, 3, 2, 2}}, {{2, 5, 7, 3}, {10, 21}}, {{33, 31, 1, 9}, {9 * 31, 33}}, {{3, 1}, {3}},
	} {
		x := randn(s[0]...)
		cases = append(cases, testCase{label: fmt.Sprintf("%v_%v", x, s[1]), op: engine.Reshape{Shape: s[1]}, in: []input{x}})
	}
	return cases
}
