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
			cases = append(cases, poolsOn(s, w)...)
		}
	}
	for _, s := range imageShapes {
		cases = append(cases, globalPoolOn(s)...)
	}
	return cases
}

// poolsOn runs the pools with window w on x of shape s, forwards and backwards;
// none if the window is larger than the padded image.
func poolsOn(s []int, w engine.Window) []testCase {
	x := engine.F32(s...)
	y, err := engine.MaxPool2D{Window: w}.Infer([]engine.Spec{x})
	if err != nil {
		return nil
	}
	label := fmt.Sprintf("%v_k%ds%dp%d", x, w.Kernel, w.Stride, w.Pad)
	dy := randn(y[0].Shape...)
	// Below zero, so that padding would win if it could; many ties.
	ties := grid(0.5, s...)
	low := scaled(1, -9, s...)
	return []testCase{
		{label: label, op: engine.MaxPool2D{Window: w}, in: []input{low}},
		{label: label + "_NaN", op: engine.MaxPool2D{Window: w}, in: []input{ties.with(math.NaN(), math.Inf(1))}},
		{label: label + "_ties", op: engine.MaxPool2DBackward{Window: w}, in: []input{ties, dy}},
		{label: label, op: engine.MaxPool2DBackward{Window: w}, in: []input{low, dy}},
		{label: label, op: engine.AvgPool2D{Window: w}, in: []input{randn(s...)}},
		{label: label, op: engine.AvgPool2DBackward{Window: w, X: x}, in: []input{dy}},
	}
}

// globalPoolOn runs GlobalAvgPool on x of shape s, forwards and backwards.
func globalPoolOn(s []int) []testCase {
	x := randn(s...)
	return []testCase{
		{label: x.String(), op: engine.GlobalAvgPool{}, in: []input{x}},
		{label: x.String(), op: engine.GlobalAvgPoolBackward{X: x.Spec}, in: []input{randn(s[0], s[3])}},
	}
}
