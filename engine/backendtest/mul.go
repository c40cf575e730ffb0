package backendtest

import "github.com/potstill/potstill/engine"

func init() { register(mulCases) }

func mulCases() (cases []testCase) {
	for _, s := range append([][]int{{1, 1, 1, 1}, {2, 1, 1, 5}, {3, 2, 1, 4}, {1, 1, 1, 2056}, {2, 40, 41, 8}, {4, 9, 9, 257}}, imageShapes...) {
		n, h, w, c := s[0], s[1], s[2], s[3]
		cases = append(cases, mulOn("", s, n, c)...)
		cases = append(cases, mulOn("", s, n, 1, 1, c)...)
		cases = append(cases, mulOn("", s, n, h, w, 1)...)
		cases = append(cases, mulOn("", s, s...)...)
	}
	return append(cases, mulOn("", []int{5, 7}, 5, 1)...)
}

// mulOn multiplies an x of shape s by a factor, and takes the gradient if the
// factor is repeated.
func mulOn(note string, s []int, factor ...int) []testCase {
	x, f, dy := randn(s...), scaled(1, 0.5, factor...), randn(s...)
	label := x.String() + "_" + f.String() + note
	cases := []testCase{{label: label, op: engine.Mul{}, in: []input{x, f}}}
	if (engine.Mul{}).Broadcast(x.Spec, f.Spec) != engine.Elementwise {
		cases = append(cases, testCase{label: label, op: engine.MulBackward{}, in: []input{x, f, dy}})
	}
	return cases
}
