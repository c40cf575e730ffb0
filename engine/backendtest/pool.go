package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(poolCases) }

// poolWindows are those that every backend pools in.
var poolWindows = []engine.Window{
	engine.Square(1, 0, 0), engine.Square(2, 0, 0), engine.Square(3, 2, 1), engine.Square(2, 1, 0), engine.Square(2, 3, 0),
	engine.Square(3, 1, 1), engine.Square(5, 2, 2), engine.Square(2, 0, 1),
	// Two and four sides.
	{Kernel: engine.Pair{1, 3}, Stride: engine.Pair{2, 1}},
	{Kernel: engine.Pair{3, 2}, Stride: engine.Pair{1, 2}, Pad: engine.Pads{2, 0, 1, 1}},
	{Kernel: engine.Both(2), Pad: engine.Pads{0, 0, 1, 1}},
	{Kernel: engine.Pair{2, 4}, Stride: engine.Pair{3, 1}, Pad: engine.Pads{0, 3, 0, 0}},
	// What is left over, and what begins behind the picture and is left out.
	{Kernel: engine.Both(2), Ceil: true},
	{Kernel: engine.Both(3), Stride: engine.Both(2), Ceil: true},
	{Kernel: engine.Both(3), Stride: engine.Both(2), Pad: engine.Around(1), Ceil: true},
	{Kernel: engine.Both(1), Stride: engine.Both(3), Ceil: true},
	{Kernel: engine.Pair{3, 2}, Stride: engine.Pair{3, 4}, Pad: engine.Pads{1, 0, 2, 1}, Ceil: true},
	// Dilation, in max pools.
	{Kernel: engine.Both(2), Stride: engine.Both(1), Dilation: engine.Both(2)},
	{Kernel: engine.Pair{2, 3}, Stride: engine.Pair{2, 1}, Dilation: engine.Pair{3, 1}, Pad: engine.Pads{1, 1, 2, 0}},
	{Kernel: engine.Both(3), Stride: engine.Both(2), Dilation: engine.Pair{1, 2}, Pad: engine.Around(1), Ceil: true},
}

func poolCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1, 1, 1}, {3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}, {1, 4, 4, 121}, {1, 8, 6, 32}} {
		for _, w := range poolWindows {
			cases = append(cases, poolsOn(s, w)...)
		}
	}
	for _, s := range imageShapes {
		cases = append(cases, globalPoolOn(s)...)
	}
	return cases
}

// windowLabel names a window in a label.
func windowLabel(w engine.Window) string {
	l := fmt.Sprintf("k%vs%vp%v", w.Kernel, w.Stride, w.Pad)
	if d := w.Complete().Dilation; d != engine.Both(1) {
		l += fmt.Sprint("d", d)
	}
	if w.Ceil {
		l += "_ceil"
	}
	return l
}

// poolsOn runs the pools with window w on x of shape s, forwards and backwards;
// none if the window is larger than the padded image.
func poolsOn(s []int, w engine.Window) []testCase {
	x := engine.F32(s...)
	y, err := engine.MaxPool2D{Window: w}.Infer([]engine.Spec{x})
	if err != nil {
		return nil
	}
	label := fmt.Sprintf("%v_%s", x, windowLabel(w))
	dy := randn(y[0].Shape...)
	// Below zero, so that padding would win if it could; many ties.
	ties := grid(0.5, s...)
	low := scaled(1, -9, s...)
	cases := []testCase{
		{label: label, op: engine.MaxPool2D{Window: w}, in: []input{low}},
		{label: label + "_NaN", op: engine.MaxPool2D{Window: w}, in: []input{ties.with(math.NaN(), math.Inf(1))}},
		{label: label + "_ties", op: engine.MaxPool2DBackward{Window: w}, in: []input{ties, dy}},
		{label: label, op: engine.MaxPool2DBackward{Window: w}, in: []input{low, dy}},
	}
	cases = append(cases, winnersOn(x, w, label, ties, dy)...)
	if w.Complete().Dilation != engine.Both(1) {
		return cases
	}
	for _, exclude := range []bool{false, true} {
		op := engine.AvgPool2D{Window: w, ExcludePad: exclude}
		if exclude {
			label += "_excluded"
		}
		cases = append(cases,
			testCase{label: label, op: op, in: []input{randn(s...)}},
			testCase{label: label, op: engine.AvgPool2DBackward{AvgPool2D: op, X: x}, in: []input{dy}})
	}
	return cases
}

// winnersOn runs the max pool that keeps which element won, and its gradient.
func winnersOn(x engine.Spec, w engine.Window, label string, in, dy input) []testCase {
	won := dy
	won.DType = engine.Uint8
	back := engine.MaxPool2DWinnersBackward{Window: w, X: x}
	return []testCase{
		{label: label, op: engine.MaxPool2DWinners{Window: w}, in: []input{in.with(math.NaN(), math.Inf(1))}, fused: true},
		{label: label, op: back, in: []input{won, dy}, fused: true, prepare: func(a []ref.Array) {
			// Who wins in a tensor that is not an input, since that is what some window may have for a winner.
			x := ref.NewArray(x)
			for i := range x.V {
				x.V[i] = float64(i * 7919 % 31)
			}
			out, err := ref.Eval(engine.MaxPool2DWinners{Window: w}, []ref.Array{x})
			if err != nil {
				panic(err) // a programmer's error in the table
			}
			a[0].V = out[1].V
		}},
	}
}

// globalPoolOn runs GlobalAvgPool on x of shape s, forwards and backwards.
func globalPoolOn(s []int) []testCase {
	x := randn(s...)
	keep := engine.GlobalAvgPool{KeepDims: true}
	return []testCase{
		{label: x.String(), op: engine.GlobalAvgPool{}, in: []input{x}},
		{label: x.String(), op: engine.GlobalAvgPoolBackward{X: x.Spec}, in: []input{randn(s[0], s[3])}},
		{label: x.String() + "_kept", op: keep, in: []input{x}},
		{label: x.String() + "_kept", op: engine.GlobalAvgPoolBackward{GlobalAvgPool: keep, X: x.Spec}, in: []input{randn(s[0], 1, 1, s[3])}},
	}
}
