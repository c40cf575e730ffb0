package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(responseCases) }

func responseCases() (cases []testCase) {
	for _, op := range []engine.LocalResponseNorm{
		{Size: 5, Alpha: 1e-4, Beta: 0.75, K: 1}, {Size: 1, Alpha: 0.5, Beta: 1, K: 2}, {Size: 2, Alpha: 2, Beta: 0.5, K: 0.5},
		{Size: 4, Alpha: 1, Beta: 1.5, K: 1}, {Size: 50, Alpha: 3, Beta: 0.75, K: 2}, {Size: 3, Alpha: 1, Beta: 0, K: 1},
	} {
		for _, s := range [][]int{{1, 1, 1, 1}, {3, 5, 7, 3}, {1, 17, 9, 16}, {2, 3, 4, 89}, {1, 2, 5, 132}, {7, 40}} {
			cases = append(cases, responseOn(op, s...)...)
		}
	}
	return cases
}

// responseOn runs the op on x of shape s, forwards and backwards.
func responseOn(op engine.LocalResponseNorm, s ...int) []testCase {
	x := randn(s...)
	label := fmt.Sprintf("%v_%d_%g_%g_%g", x.Spec, op.Size, op.Alpha, op.Beta, op.K)
	return []testCase{
		{label: label, op: op, in: []input{x}},
		{label: label, op: engine.LocalResponseNormBackward{LocalResponseNorm: op}, in: []input{x, randn(s...)}},
	}
}
