package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(softmaxCases) }

func softmaxCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1}, {3, 7}, {5, 96}, {70, 44}, {2, 2056}, {300, 3}, {1, 4099}, {2, 5, 3, 16}, {1, 31, 33, 5}, {3, 7, 7, 44}} {
		cases = append(cases, softmaxOn("", scaled(3, 1, s...))...)
	}
	cases = append(cases, softmaxOn("_large", scaled(40, 1000, 9, 21))...)
	return append(cases, softmaxOn("_NaN", randn(9, 21).with(math.NaN(), 1, 1, math.NaN()))[0])
}

// softmaxOn runs Softmax on x and its logarithm, forwards and backwards.
func softmaxOn(note string, x input) (cases []testCase) {
	for _, op := range []engine.Softmax{{}, {Log: true}} {
		label := fmt.Sprintf("%v_log=%v%s", x.Spec, op.Log, note)
		cases = append(cases, testCase{label: label, op: op, in: []input{x}},
			testCase{label: label, op: engine.SoftmaxBackward(op), in: []input{x, randn(x.Shape...)}, prepare: func(in []ref.Array) {
				if y, err := ref.Eval(op, in[:1]); err == nil {
					in[0].V = y[0].V
				}
			}})
	}
	return cases
}
