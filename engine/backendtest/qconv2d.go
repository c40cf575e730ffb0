package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(qconvCases) }

// codesInt8 is a weight in int8, with the extremes among it.
func codesInt8(shape ...int) input {
	return input{engine.Spec{Shape: shape, DType: engine.Int8}, func(rng *rand.Rand, _ int) float64 {
		switch rng.IntN(8) {
		case 0:
			return -128
		case 1:
			return 127
		}
		return float64(rng.IntN(256) - 128)
	}}
}

// qchannels returns the biases and the multipliers of so many outputs, sums of so many
// products each. Every fifth bias does not fit into a float32.
func qchannels(o, terms int) []input {
	spread := 5000 * math.Sqrt(float64(terms))
	return []input{
		{engine.Spec{Shape: []int{o}, DType: engine.Int32}, func(rng *rand.Rand, i int) float64 {
			if i%5 == 4 {
				return float64(1<<26 + rng.IntN(1000))
			}
			return math.Round(spread * rng.NormFloat64())
		}},
		{engine.F32(o), func(rng *rand.Rand, _ int) float64 { return 60 / spread * (0.3 + rng.Float64()) }},
	}
}

func qconvCases() (cases []testCase) {
	pair := func(a, b int) engine.Pair { return engine.Pair{a, b} }
	for i, s := range []struct {
		n, h, w, c, kh, kw, o int
		op                    engine.Conv2D
	}{
		{1, 1, 1, 1, 1, 1, 1, engine.Conv2D{}},
		{1, 5, 4, 8, 1, 1, 16, engine.Conv2D{}},
		{2, 7, 5, 12, 1, 1, 70, engine.Conv2D{}},
		{1, 9, 11, 64, 1, 1, 144, engine.Conv2D{}},
		{1, 6, 6, 7, 1, 1, 33, engine.Conv2D{}},
		{1, 7, 7, 16, 1, 1, 24, engine.Conv2D{Stride: engine.Both(2)}},
		{2, 8, 9, 3, 3, 3, 20, engine.Conv2D{Pad: engine.Around(1)}},
		{1, 13, 12, 3, 7, 7, 64, engine.Conv2D{Pad: engine.Around(3), Stride: engine.Both(2)}},
		{1, 10, 9, 32, 3, 3, 48, engine.Conv2D{Pad: engine.Around(1)}},
		{9, 4, 3, 6, 3, 3, 18, engine.Conv2D{Pad: engine.Around(1)}}, // tasks that have pixels of several pictures
		{2, 13, 11, 3, 2, 2, 40, engine.Conv2D{Pad: engine.Pads{1, 2, 3, 0}, Stride: pair(3, 4)}},
		{1, 14, 12, 5, 3, 3, 66, engine.Conv2D{Pad: engine.Pads{4, 5, 1, 0}, Dilation: pair(3, 1)}},
		{1, 3, 2, 4, 5, 4, 17, engine.Conv2D{Pad: engine.Around(4)}}, // of which some read padding alone
		{1, 9, 8, 5, 3, 2, 17, engine.Conv2D{Pad: engine.Pads{1, 0, 2, 1}, Stride: pair(2, 1), Dilation: pair(1, 2)}},
		{1, 7, 6, 12, 3, 3, 18, engine.Conv2D{Pad: engine.Around(1), Groups: 3}},
		{1, 5, 6, 8, 1, 1, 24, engine.Conv2D{Groups: 2}},
		{2, 6, 5, 6, 3, 3, 12, engine.Conv2D{Pad: engine.Around(1), Groups: 6}},
		{2, 9, 8, 5, 3, 3, 5, engine.Conv2D{Pad: engine.Around(1), Groups: 5}},
		{1, 16, 15, 32, 3, 3, 32, engine.Conv2D{Pad: engine.Around(1), Groups: 32}},
		{1, 11, 12, 40, 3, 3, 40, engine.Conv2D{Pad: engine.Around(1), Stride: engine.Both(2), Groups: 40}},
		{1, 9, 10, 19, 5, 5, 19, engine.Conv2D{Pad: engine.Around(2), Groups: 19}},
		{1, 4, 3, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Pads{2, 1, 0, 2}, Groups: 16, Stride: pair(1, 2)}},
		{1, 12, 9, 17, 3, 3, 17, engine.Conv2D{Pad: engine.Around(2), Dilation: engine.Both(2), Groups: 17}},
		{1, 26, 24, 2, 23, 23, 2, engine.Conv2D{Pad: engine.Around(1), Groups: 2}},
		{1, 20, 21, 16, 1, 1, 640, engine.Conv2D{}},
		{1, 4, 1, 8, 3, 3, 10, engine.Conv2D{Pad: engine.Pads{1, 5, 1, 0}, Stride: pair(1, 8)}}, // which reads no column of x
		{1, 6, 5, 8, 3, 3, 448, engine.Conv2D{Pad: engine.Around(1)}},
	} {
		op := engine.QConv2D{Conv2D: s.op, X: codesOf(i), Y: codesOf(i + 1)}
		groups := max(s.op.Groups, 1)
		terms := s.kh * s.kw * s.c / groups
		for _, op.Float = range []bool{false, true} {
			in := append([]input{codes(s.n, s.h, s.w, s.c), codesInt8(s.kh, s.kw, s.c/groups, s.o)}, qchannels(s.o, terms)...)
			cases = append(cases, testCase{label: fmt.Sprintf("%v_%v_%+v_float=%v", in[0].Spec, in[1].Spec, s.op, op.Float), op: op, in: in})
		}
	}
	for i, s := range []struct {
		n, h, w, c, kh, o int
		op                engine.Conv2D
	}{
		{1, 5, 7, 8, 1, 64, engine.Conv2D{}},
		{2, 9, 8, 24, 3, 64, engine.Conv2D{Pad: engine.Around(1)}},
		{1, 6, 5, 7, 3, 33, engine.Conv2D{Pad: engine.Around(1), Stride: engine.Both(2)}},
		{3, 3, 3, 4, 1, 1, engine.Conv2D{}},
		{1, 4, 5, 12, 3, 36, engine.Conv2D{Pad: engine.Around(1), Groups: 3}},
		{1, 8, 7, 16, 3, 32, engine.Conv2D{Pad: engine.Around(1)}},
		{1, 7, 6, 16, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 16}},
	} {
		op := engine.QConv2D{Conv2D: s.op, X: codesOf(i), Y: codesOf(i + 1), Sum: engine.QSum{R: codesOf(i + 2), Y: codesOf(i + 3)}}
		groups := max(s.op.Groups, 1)
		y, err := s.op.Infer([]engine.Spec{engine.F32(s.n, s.h, s.w, s.c), engine.F32(s.kh, s.kh, s.c/groups, s.o)})
		if err != nil {
			panic(err)
		}
		in := append([]input{codes(s.n, s.h, s.w, s.c), codesInt8(s.kh, s.kh, s.c/groups, s.o)}, qchannels(s.o, s.kh*s.kh*s.c/groups)...)
		in = append(in, codes(y[0].Shape...))
		cases = append(cases, testCase{label: fmt.Sprintf("%v_%v_%+v_and_a_sum", in[0].Spec, in[1].Spec, s.op), op: op, in: in, fused: true})
	}
	for i, s := range [][3]int{{1, 1, 1}, {1, 512, 10}, {5, 77, 33}, {40, 64, 130}, {1, 3000, 100}} {
		op := engine.QLinear{X: codesOf(i), Y: codesOf(i + 2), Float: i%2 == 1}
		in := append([]input{codes(s[0], s[1]), codesInt8(s[1], s[2])}, qchannels(s[2], s[1])...)
		cases = append(cases, testCase{label: fmt.Sprint(s), op: op, in: in})
	}
	return cases
}
