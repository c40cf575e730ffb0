package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(dropoutCases) }

func dropoutCases() (cases []testCase) {
	counters := [][]float64{{0, 0, 0, 0}, {4123456789, 17, 3987654321, 5}}
	for _, shape := range [][]int{{1}, {5}, {3, 11}, {2, 7, 5, 3}, {1, 31, 33, 16}} {
		for _, p := range []float32{0, 0.1, 0.5, 0.93} {
			for i, c := range counters {
				x := scaled(1, 3, shape...)
				cases = append(cases, testCase{
					label: fmt.Sprintf("%v_P%v_counter%d", x.Spec, p, i),
					op:    engine.Dropout{P: p, Stream: uint32(i) * 3000000007},
					in:    []input{x, given(engine.DropoutCounter, c...)},
				})
			}
		}
	}
	return cases
}
