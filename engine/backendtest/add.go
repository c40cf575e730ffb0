package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(addCases) }

func addCases() (cases []testCase) {
	for _, shape := range [][]int{{}, {7}, {3, 11}, {1, 31, 33, 3}, {3, 5, 4, 121}} {
		x := randn(shape...)
		cases = append(cases, testCase{label: x.String(), op: engine.Fill{Value: -1.5, Shape: shape}})
		for _, k := range []int{1, 2, 3, 5} {
			var in []input
			var w []float32
			for i := range k {
				in = append(in, x)
				w = append(w, 0.3*float32(i)-0.7)
			}
			label := fmt.Sprintf("%d_%v", k, x.Spec)
			cases = append(cases, testCase{label: label, op: engine.Add{}, in: in},
				testCase{label: label + "_weights", op: engine.Add{Weights: w}, in: in})
		}
	}
	return cases
}
