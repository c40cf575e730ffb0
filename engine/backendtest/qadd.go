package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(qaddCases) }

func qaddCases() (cases []testCase) {
	for i, s := range append([][]int{{1, 1}, {3, 7}, {70, 44}, {2, 2056}, {40, 700}}, imageShapes...) {
		a, b, y := codesOf(i), codesOf(i+2), codesOf(i+4)
		in := []input{codes(s...), codes(s...)}
		product := engine.QMul{A: a, B: b, Y: engine.Codes{Scale: y.Scale * 50 * a.Scale, Zero: y.Zero, Lo: y.Lo, Hi: y.Hi}}
		cases = append(cases,
			testCase{label: fmt.Sprint(s), op: engine.QAdd{A: a, B: b, Y: y}, in: in},
			testCase{label: fmt.Sprint(s), op: product, in: in})
		if len(s) == 4 {
			cases = append(cases,
				testCase{label: fmt.Sprint(s, "by channels"), op: product, in: []input{codes(s...), codes(s[0], s[3])}},
				testCase{label: fmt.Sprint(s, "by pixels"), op: product, in: []input{codes(s...), codes(s[0], 1, 1, s[3])}})
		}
	}
	return cases
}
