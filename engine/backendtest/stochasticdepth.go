package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(stochasticDepthCases) }

func stochasticDepthCases() (cases []testCase) {
	for i, s := range [][]int{{1}, {7, 1}, {9, 11}, {5, 7, 5, 3}, {17, 4, 4, 16}, {3, 31, 33, 16}, {2, 8, 8, 257}} {
		for _, p := range []float32{0, 0.2, 0.5, 0.93} {
			cases = append(cases, stochasticDepthOn(p, uint32(i)*3000000007, s))
		}
	}
	return cases
}

func stochasticDepthOn(p float32, stream uint32, s []int) testCase {
	x := scaled(1, 3, s...)
	return testCase{label: fmt.Sprintf("%v_P%v_%d", x.Spec, p, stream), op: engine.StochasticDepth{P: p, Stream: stream},
		in: []input{x, given(engine.DropoutCounter, 4123456789, 17, 3987654321, 5)}}
}
