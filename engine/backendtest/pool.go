package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { register(poolCases) }

func poolCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1, 1, 1}, {3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}, {1, 4, 4, 121}, {1, 8, 6, 32}} {
		for _, w := range []engine.Window{{Kernel: 1}, {Kernel: 2}, {Kernel: 3, Stride: 2, Pad: 1}, {Kernel: 2, Stride: 1},
			{Kernel: 2, Stride: 3}, {Kernel: 3, Stride: 1, Pad: 1}, {Kernel: 5, Stride: 2, Pad: 2}, {Kernel: 2, Pad: 1}} {
			x := engine.F32(s...)
			y, err := engine.MaxPool2D{Window: w}.Infer([]engine.Spec{x})
			if err != nil {
				continue // the window is larger than the padded image
			}
			label := fmt.Sprintf("%v_k%ds%dp%d", x, w.Kernel, w.Stride, w.Pad)
			dy := randn(y[0].Shape...)
			// Below zero, so that padding would win if it could; many ties.
			ties := grid(0.5, s...)
			low := scaled(1, -9, s...)
			cases = append(cases,
				testCase{label: label, op: engine.MaxPool2D{Window: w}, in: []input{low}},
				testCase{label: label + "_NaN", op: engine.MaxPool2D{Window: w}, in: []input{ties.with(math.NaN(), math.Inf(1))}},
				testCase{label: label + "_ties", op: engine.MaxPool2DBackward{Window: w}, in: []input{ties, dy}},
				testCase{label: label, op: engine.MaxPool2DBackward{Window: w}, in: []input{low, dy}},
				testCase{label: label, op: engine.AvgPool2D{Window: w}, in: []input{randn(s...)}},
				testCase{label: label, op: engine.AvgPool2DBackward{Window: w, X: x}, in: []input{dy}})
		}
	}
	for _, s := range imageShapes {
		x := randn(s...)
		cases = append(cases, testCase{label: x.String(), op: engine.GlobalAvgPool{}, in: []input{x}},
			testCase{label: x.String(), op: engine.GlobalAvgPoolBackward{X: x.Spec}, in: []input{randn(s[0], s[3])}})
	}
	return cases
}
