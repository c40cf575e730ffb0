package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(qpoolCases) }

func qpoolCases() (cases []testCase) {
	for i, s := range [][]int{{1, 4, 4, 1}, {2, 9, 7, 5}, {1, 8, 8, 32}, {3, 7, 11, 17}, {1, 12, 5, 70}, {1, 6, 7, 85}} {
		x, y := codesOf(i), codesOf(i+3)
		in := []input{codes(s...)}
		for _, w := range []engine.Window{
			engine.Square(2, 0, 0), engine.Square(3, 2, 1), engine.Square(3, 1, 1),
			{Kernel: engine.Pair{2, 3}, Stride: engine.Pair{1, 2}, Pad: engine.Pads{1, 0, 0, 2}, Ceil: true},
		} {
			label := fmt.Sprint(s, w)
			cases = append(cases,
				testCase{label: label, op: engine.QMaxPool2D{Window: w}, in: in},
				testCase{label: label, op: engine.QAvgPool2D{Pool: engine.AvgPool2D{Window: w}, X: x, Y: y}, in: in},
				testCase{label: label + " without padding", op: engine.QAvgPool2D{Pool: engine.AvgPool2D{Window: w, ExcludePad: true}, X: x, Y: y}, in: in})
		}
		for _, dilated := range []engine.Window{
			{Kernel: engine.Pair{2, 2}, Stride: engine.Both(1), Dilation: engine.Pair{2, 1}},
			{Kernel: engine.Pair{2, 3}, Stride: engine.Pair{1, 2}, Dilation: engine.Pair{1, 3}, Pad: engine.Pads{0, 1, 1, 3}},
		} {
			cases = append(cases, testCase{label: fmt.Sprint(s, dilated), op: engine.QMaxPool2D{Window: dilated}, in: in})
		}
		cases = append(cases,
			testCase{label: fmt.Sprint(s), op: engine.QGlobalAvgPool{X: x, Y: y}, in: in},
			testCase{label: fmt.Sprint(s, " kept"), op: engine.QGlobalAvgPool{KeepDims: true, X: x, Y: y}, in: in})
	}
	return cases
}
