package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { register(padCases) }

func padCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1, 1, 1}, {3, 5, 7, 3}, {1, 17, 9, 16}, {2, 3, 4, 89}, {1, 6, 5, 32}} {
		for _, p := range []engine.Pads{{}, {1, 1, 1, 1}, {0, 2, 1, 0}, {2, 3, 2, 1}, {7, 0, 0, 9}} {
			cases = append(cases, padOn(p, s...)...)
		}
	}
	return cases
}

// padOn pads x of shape s in all modes, forwards and backwards.
func padOn(p engine.Pads, s ...int) (cases []testCase) {
	x := randn(s...)
	for _, op := range []engine.Pad2D{{Pad: p}, {Pad: p, Value: -2.5}, {Pad: p, Value: float32(math.Inf(-1))}, {Pad: p, Mode: engine.PadReflect}, {Pad: p, Mode: engine.PadEdge}} {
		y, err := op.Infer([]engine.Spec{x.Spec})
		if err != nil {
			continue // more than can be reflected
		}
		label := fmt.Sprintf("%v_p%v_%v_%g", x.Spec, p, op.Mode, op.Value)
		cases = append(cases,
			testCase{label: label, op: op, in: []input{x.with(math.NaN(), math.Inf(1))}},
			testCase{label: label, op: engine.Pad2DBackward{Pad2D: op, X: x.Spec}, in: []input{randn(y[0].Shape...)}})
	}
	return cases
}
