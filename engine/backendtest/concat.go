package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

func init() { register(concatCases) }

// concatCases joins inputs of many numbers of channels, even and odd, and takes
// them apart again.
func concatCases() (cases []testCase) {
	for _, pixels := range [][]int{{1, 1, 1}, {3, 5, 7}, {1, 31, 33}, {1}, {7}} {
		for _, c := range [][]int{{1}, {5}, {1, 1}, {3, 16, 1}, {16, 32}, {44, 89}, {8, 24, 16, 48}, {58, 58}, {256, 3}, {5, 7, 11, 13, 17}, {24, 12}} {
			cases = append(cases, concatOn(pixels, c...))
		}
		for _, s := range [][3]int{{1, 0, 1}, {3, 1, 2}, {16, 0, 16}, {32, 16, 32}, {89, 44, 89}, {48, 8, 24}, {116, 0, 58}, {116, 58, 116}, {257, 1, 257}, {36, 4, 16}, {20, 19, 20}} {
			cases = append(cases, slicesOn(pixels, s[0], s[1], s[2])...)
		}
	}
	return cases
}

// concatOn joins inputs with so many channels each.
func concatOn(pixels []int, channels ...int) testCase {
	c := testCase{label: fmt.Sprintf("%v_%v", pixels, channels), op: engine.Concat{}}
	for _, k := range channels {
		c.in = append(c.in, randn(append(slices.Clone(pixels), k)...).with(math.NaN(), math.Inf(-1)))
	}
	return c
}

// slicesOn takes channels out of c, forwards and backwards.
func slicesOn(pixels []int, c, start, end int) []testCase {
	x := randn(append(slices.Clone(pixels), c)...).with(math.Inf(1), math.NaN())
	dy := randn(append(slices.Clone(pixels), end-start)...)
	label := fmt.Sprintf("%v_%d_to_%d", x.Spec, start, end)
	return []testCase{{label: label, op: engine.Slice{Start: start, End: end}, in: []input{x}},
		{label: label, op: engine.SliceBackward{Start: start, X: x.Spec}, in: []input{dy}}}
}
