package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

func init() { register(bfloat16Cases) }

// bfloat16Cases runs the operators that may store activations as bfloat16, on a
// part of the shapes that they are run on in float32.
func bfloat16Cases() (cases []testCase) {
	for _, c := range slices.Concat(mixedConvs(), mixedNorms(), mixedPools(), mixedElements()) {
		cases = append(cases, c.inBFloat16())
	}
	return append(cases, castCases()...)
}

// inBFloat16 returns the case with its activations in bfloat16.
func (c testCase) inBFloat16() testCase {
	c.label = "bf16_" + c.label
	c.in = slices.Clone(c.in)
	for _, k := range activations(c.op, len(c.in)) {
		c.in[k].DType = engine.BFloat16
	}
	switch op := c.op.(type) {
	case engine.Conv2DBackwardData:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.AvgPool2DBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.MaxPool2DWinnersBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.AdaptiveAvgPool2DBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.GlobalAvgPoolBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.Pad2DBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.FlattenBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	case engine.SliceBackward:
		op.X.DType = engine.BFloat16
		c.op = op
	}
	return c
}

// activations returns which of op's inputs may be bfloat16.
func activations(op engine.Op, inputs int) []int {
	switch op := op.(type) {
	case engine.GlobalAvgPoolBackward:
		if !op.GlobalAvgPool.KeepDims {
			return nil
		}
	case engine.Conv2D:
		if op.Epilogue.Residual {
			return []int{0, inputs - 1}
		}
	case engine.Conv2DBackwardWeight, engine.LinearBackwardWeight, engine.BatchNormBackward,
		engine.BatchNormEvalBackward, engine.LayerNormBackward, engine.GroupNormBackward, engine.ActivationBackward, engine.MaxPool2DBackward,
		engine.AdaptiveMaxPool2DBackward, engine.LocalResponseNormBackward, engine.ScaleShiftBackward, engine.SoftmaxBackward, engine.MSE, engine.MSEBackward:
		return []int{0, 1}
	case engine.PReLUBackward:
		return []int{0, 2}
	case engine.MaxPool2DWinnersBackward:
		return []int{1}
	case engine.BatchNormActBackward:
		if op.Kept {
			return []int{0, 1, 6}
		}
		return []int{0, 1}
	case engine.Add, engine.Concat, engine.Mul, engine.MulBackward, engine.Div, engine.Maximum, engine.Minimum, engine.ChosenBackward:
		all := make([]int, inputs)
		for k := range all {
			all[k] = k
		}
		return all
	}
	return []int{0}
}

// mixedConvs are convolutions of each kind: dense, pointwise, first layer, with
// groups, depthwise; with channels that are multiples of eight and others.
func mixedConvs() (cases []testCase) {
	for _, s := range []convShape{
		{3, 5, 7, 3, 3, 3, 16, engine.Conv2D{Stride: engine.Both(1), Pad: engine.Around(1)}, true},
		{1, 17, 15, 3, 7, 7, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(3)}, false},
		{1, 5, 4, 44, 3, 3, 89, engine.Conv2D{Pad: engine.Around(1)}, true},
		{1, 4, 4, 256, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1)}, true},
		{1, 9, 11, 8, 3, 3, 24, engine.Conv2D{Pad: engine.Around(2), Dilation: engine.Both(2)}, true},
		{1, 33, 31, 16, 1, 1, 48, engine.Conv2D{}, true},
		{3, 5, 5, 121, 1, 1, 89, engine.Conv2D{}, true},
		{3, 9, 9, 16, 1, 1, 44, engine.Conv2D{Stride: engine.Both(2)}, false},
		{1, 9, 7, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, true},
		{1, 31, 33, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 16}, true},
		{3, 5, 4, 89, 3, 3, 89, engine.Conv2D{Pad: engine.Around(1), Groups: 89}, false},
		{1, 9, 7, 44, 3, 3, 44, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 44}, true},
		{1, 8, 8, 32, 5, 5, 32, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(2), Groups: 32}, false},
		{2, 5, 6, 8, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 8}, true},
	} {
		cases = append(cases, s.cases()...)
	}
	for _, s := range pairShapes {
		cases = append(cases, forCompiled(pairReason, s.cases())...)
	}
	return cases
}

// pairShapes have rows that are longer than what a product of the CPU's pairs of
// bfloat16 takes at once, many pictures in one product, and many channels.
var pairShapes = []convShape{
	{1, 3, 401, 5, 3, 3, 7, engine.Conv2D{Pad: engine.Around(1)}, true},
	{1, 3, 397, 6, 3, 3, 9, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}, true},
	{41, 2, 3, 24, 3, 3, 20, engine.Conv2D{Pad: engine.Around(1)}, true},
	{1, 5, 6, 150, 3, 3, 130, engine.Conv2D{Pad: engine.Around(1)}, false},
	{3, 7, 7, 40, 3, 3, 48, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}, true},
	{1, 19, 17, 10, 7, 7, 8, engine.Conv2D{Stride: engine.Pair{2, 3}, Pad: engine.Around(3)}, true},
	{1, 9, 14, 12, 3, 5, 9, engine.Conv2D{Stride: engine.Pair{1, 2}, Dilation: engine.Pair{2, 3}, Pad: engine.Pads{1, 6, 2, 5}}, false},
	{2, 9, 7, 12, 3, 3, 24, engine.Conv2D{Pad: engine.Around(1), Groups: 3}, true},
	{1, 10, 9, 17, 9, 9, 19, engine.Conv2D{Pad: engine.Around(4)}, true},
}

const pairReason = "it is beyond one product of the CPU's pairs of bfloat16, which other kernels do not have"

func mixedNorms() (cases []testCase) {
	train := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
	for _, s := range [][]int{{1, 1, 2, 1}, {3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}, {5, 2, 2, 256}, {1, 3, 3, 257}, {2, 1, 3, 2056}} {
		cases = append(cases, batchNormOn(train, "", scaled(1, 0.5, s...))...)
		cases = append(cases, batchNormOn(engine.BatchNorm{Eps: 1e-5}, "", scaled(1, 0.5, s...))...)
	}
	for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}, {2, 1, 3, 2056}, {9, 96}} {
		cases = append(cases, layerNormOn(1e-6, "", scaled(1, 0.5, s...))...)
	}
	for _, s := range [][]int{{3, 3, 5, 7, 3}, {4, 1, 31, 33, 16}, {22, 3, 7, 7, 44}, {1, 2, 3, 5, 89}, {89, 2, 3, 5, 89}, {8, 2, 3, 1, 2056}} {
		cases = append(cases, groupNormOn(s[0], 1e-5, "", scaled(1, 0.5, s[1:]...))...)
	}
	cases = append(cases, batchNormOn(train, "_mean-300", scaled(9, -300, 1, 31, 33, 3))...)
	for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}} {
		cases = append(cases, fusedCase(s, engine.ReLU, nil)...)
		for _, f := range []engine.Act{engine.ReLU, engine.ReLU6} {
			cases = append(cases, fusedCase(s, f, &engine.Window{Kernel: engine.Both(2)})...)
		}
	}
	return cases
}

func mixedPools() (cases []testCase) {
	for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {2, 3, 5, 89}} {
		for _, w := range []engine.Window{engine.Square(2, 0, 0), engine.Square(3, 2, 1),
			{Kernel: engine.Pair{3, 2}, Stride: engine.Pair{1, 2}, Pad: engine.Pads{2, 0, 1, 1}, Ceil: true}} {
			cases = append(cases, poolsOn(s, w)...)
		}
		cases = append(append(cases, globalPoolOn(s)...), adaptiveOn(s, engine.Pair{2, 3})...)
		cases = append(append(cases, padOn(engine.Pads{0, 2, 1, 0}, s...)...), responseOn(engine.LocalResponseNorm{Size: 3, Alpha: 0.5, Beta: 0.75, K: 1}, s...)...)
	}
	return append(cases, globalPoolOn([]int{1, 4, 4, 121})...)
}

// mixedElements are the operators that work element by element, and Linear.
func mixedElements() (cases []testCase) {
	corners := []float64{0, 6, math.NaN(), math.Inf(1), math.Inf(-1), -0x1p-120, 6.03125}
	for _, shape := range [][]int{{5}, {1, 31, 33, 3}, {3, 7, 5, 89}} {
		x, dy := scaled(5, 1, shape...), randn(shape...)
		for _, f := range []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6} {
			label := fmt.Sprintf("%v_%v", f, x.Spec)
			if x.Len() > 2*len(corners) {
				cases = append(cases, testCase{label: label + "_corners", op: engine.Activation{F: f}, in: []input{x.with(corners...)}})
			}
			cases = append(cases, testCase{label: label, op: engine.Activation{F: f}, in: []input{x}},
				testCase{label: label, op: engine.ActivationBackward{F: f}, in: []input{x, dy}, prepare: activate(f)})
		}
		for _, f := range []engine.Act{engine.Clip(-1, 1), engine.LeakyReLU(0.01), engine.ELU(1), engine.HardSwish, engine.SiLU, engine.GELU} {
			if x.Len() > 1000 {
				cases = append(cases, activationOn(f, x)...)
			}
		}
		label := x.String()
		cases = append(cases,
			testCase{label: "2_" + label, op: engine.Add{}, in: []input{x, dy}},
			testCase{label: "3_" + label + "_weights", op: engine.Add{Weights: []float32{0.3, -0.7, 1.1}}, in: []input{x, dy, dy}},
			testCase{label: label, op: engine.Dropout{P: 0.3, Stream: 5}, in: []input{x, given(engine.DropoutCounter, 4123456789, 17, 3987654321, 5)}})
	}
	x := randn(2, 3, 5, 7)
	cases = append(cases, testCase{label: x.String(), op: engine.Detach{}, in: []input{x}},
		testCase{label: x.String(), op: engine.Reshape{Shape: []int{14, 15}}, in: []input{x}},
		testCase{label: x.String(), op: engine.Flatten{}, in: []input{x}},
		testCase{label: x.String(), op: engine.FlattenBackward{X: x.Spec}, in: []input{randn(2, 3*5*7)}})
	for _, c := range [][]int{{3, 16, 1}, {16, 32}, {8, 24, 20}, {44, 89}, {2, 6}} {
		cases = append(cases, concatOn([]int{3, 5, 7}, c...))
		cases = append(cases, slicesOn([]int{3, 5, 7}, c[0]+c[1]+3, c[0], c[0]+c[1])...)
		cases = append(cases, slicesOn([]int{9}, 2*c[0], c[0], 2*c[0])...)
	}
	for _, s := range [][]int{{2, 116}, {4, 20}, {3, 33}} {
		cases = append(cases, channelShuffleOn(s[0], 3, 5, 7, s[1]), channelShuffleOn(s[1]/s[0], 9, s[1]))
	}
	for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {2, 3, 5, 89}, {4, 4, 5, 12}} {
		cases = append(cases, mulOn("", s, s...)...)
		cases = append(cases, mulOn("", s, s[0], s[3])...)
		cases = append(cases, mulOn("", s, s[0], s[1], s[2], 1)...)
		cases = append(cases, slices.Concat(pointwiseOn(s), scaleShiftOn(s), preluOn(s, s[3]), preluOn(s, 1), softmaxOn("", randn(s...)), mseOn("", randn(s...)))...)
		cases = append(cases, stochasticDepthOn(0.5, 7, s))
	}
	for _, s := range [][3]int{{3, 5, 7}, {32, 256, 16}, {8, 121, 89}} {
		cases = append(cases, linearOn(s[0], s[1], s[2])...)
	}
	return cases
}

// castCases has every pair of types, numbers half way between two bfloat16s,
// those that overflow, and those below the least normal number.
func castCases() (cases []testCase) {
	corners := []float64{0, math.NaN(), math.Inf(1), math.Inf(-1), 1 + 0x1p-8, 1 + 3*0x1p-8, -1 - 0x1p-8, 1 + 0x1p-8 + 0x1p-20,
		math.MaxFloat32, -0x1.fep127, 0x1.ffp127, 0x1p-130, 0x1.01p-126}
	for _, shape := range [][]int{{}, {7}, {3, 11}, {1, 31, 33, 3}, {3, 5, 4, 121}} {
		x := scaled(3, 0, shape...)
		if x.Len() > 2*len(corners) {
			x = x.with(corners...)
		}
		half := x
		half.DType = engine.BFloat16
		for _, to := range []engine.DType{engine.Float32, engine.BFloat16} {
			for _, x := range []input{x, half} {
				cases = append(cases, testCase{label: fmt.Sprintf("%v_to_%v", x.Spec, to), op: engine.Cast{To: to}, in: []input{x}})
			}
		}
	}
	return cases
}
