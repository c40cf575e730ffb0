package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(activationCases) }

func activationCases() (cases []testCase) {
	corners := []float64{0, 6, math.NaN(), math.Inf(1), math.Inf(-1), -0x1p-120, 6.000001}
	for _, f := range []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6} {
		for _, shape := range [][]int{{}, {5}, {1, 1, 1, 1}, {3, 11}, {1, 31, 33, 3}, {3, 7, 5, 89}} {
			x, dy := scaled(5, 1, shape...), randn(shape...)
			label := fmt.Sprintf("%v_%v", f, x.Spec)
			cases = append(cases, testCase{label: label, op: engine.Activation{F: f}, in: []input{x}},
				testCase{label: label, op: engine.ActivationBackward{F: f}, in: []input{x, dy}, prepare: activate(f)})
			if x.Len() > 2*len(corners) {
				cases = append(cases,
					testCase{label: label + "_corners", op: engine.Activation{F: f}, in: []input{x.with(corners...)}})
			}
		}
	}
	return cases
}

// activate replaces the first input by its activation.
func activate(f engine.Act) func(in []ref.Array) {
	return func(in []ref.Array) {
		if y, err := ref.Eval(engine.Activation{F: f}, in[:1]); err == nil {
			in[0].V = y[0].V
		}
	}
}
