package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(scaleShiftCases) }

func scaleShiftCases() (cases []testCase) {
	for _, s := range append([][]int{{1, 1}, {3, 7}, {5, 96}, {70, 44}, {2, 2056}, {300, 3}}, imageShapes...) {
		cases = append(cases, scaleShiftOn(s)...)
	}
	return cases
}

// scaleShiftOn runs ScaleShift with a scale, a shift and both, forwards and backwards.
func scaleShiftOn(s []int) (cases []testCase) {
	c := s[len(s)-1]
	x, dy := scaled(1, 0.5, s...), randn(s...)
	for _, op := range []engine.ScaleShift{{Scale: true}, {Shift: true}, {Scale: true, Shift: true}} {
		in := []input{x}
		if op.Scale {
			in = append(in, gammas(1, c))
		}
		if op.Shift {
			in = append(in, randn(c))
		}
		label := fmt.Sprintf("%v_scale=%v_shift=%v", x.Spec, op.Scale, op.Shift)
		cases = append(cases, testCase{label: label, op: op, in: in},
			testCase{label: label, op: engine.ScaleShiftBackward(op), in: []input{x, dy}})
	}
	return cases
}
