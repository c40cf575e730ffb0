package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(optimizerCases) }

// parameterShapes are the parameters of small nets, by their numbers of elements.
var parameterShapes = [][][]int{
	{{1}},
	{{3, 3, 3, 16}, {16}, {}, {16, 11}, {11}},
	{{4099}, {3, 3, 1, 89}, {89}, {1, 1, 89, 44}},
}

// group returns an input for every shape.
func group(shapes [][]int, of func(shape ...int) input) (in []input) {
	for _, s := range shapes {
		in = append(in, of(s...))
	}
	return in
}

func zeros(shape ...int) input { return scaled(0, 0, shape...) }

func small(shape ...int) input { return scaled(0.01, 0, shape...) }

func optimizerCases() (cases []testCase) {
	for _, shapes := range parameterShapes {
		k := len(shapes)
		label := fmt.Sprintf("%d_tensors_%v", k, shapes[0])
		p, g := group(shapes, randn), group(shapes, small)
		cases = append(cases, adamCases(label, shapes, p, g)...)
		cases = append(cases, sgdCases(label, shapes, p, g)...)
		cases = append(cases, clipCases(label, shapes)...)
		for _, d := range []float64{0, 0.999, 0.3, 1} {
			cases = append(cases, testCase{label: fmt.Sprintf("%s_decay%v", label, d), op: engine.EMA{K: k},
				in: append(append([]input{scalar(d)}, p...), group(shapes, randn)...)})
		}
		for _, first := range []float64{0, 1} {
			a := group(shapes, randn)
			if first == 1 { // what is discarded may be anything
				a[0] = a[0].with(math.NaN(), math.Inf(1))
			}
			cases = append(cases, testCase{label: fmt.Sprintf("%s_first%v", label, first), op: engine.Accumulate{K: k, Weight: 0.3},
				in: append(append([]input{scalar(first)}, g...), a...)})
		}
	}
	return cases
}

// hyper returns the hyper vector, with Adam's corrections for step t.
func hyper(lr, decay float64, t float64) input {
	v := make([]float64, engine.HyperLen)
	v[engine.HyperLR], v[engine.HyperWeightDecay] = lr, decay
	v[engine.HyperBias1], v[engine.HyperBias2] = 1-math.Pow(0.9, t), 1-math.Pow(0.999, t)
	if t == 1 {
		v[engine.HyperFirst] = 1
	}
	return given(engine.F32(engine.HyperLen), v...)
}

func adamCases(label string, shapes [][]int, p, g []input) (cases []testCase) {
	square := func(shape ...int) input {
		s := positive(shape...)
		at := s.at
		s.at = func(rng *rand.Rand, i int) float64 { return 1e-4 * at(rng, i) }
		return s
	}
	for _, decoupled := range []bool{false, true} {
		for _, t := range []float64{1, 7, 1000} {
			for _, decay := range []float64{0, 0.01} {
				m, v := group(shapes, small), group(shapes, square)
				if t == 1 {
					m, v = group(shapes, zeros), group(shapes, zeros)
				}
				in := []input{hyper(1e-3, decay, t), scalar(0.37)}
				for _, x := range [][]input{p, g, m, v} {
					in = append(in, x...)
				}
				cases = append(cases, testCase{
					label: fmt.Sprintf("%s_step%v_decay%v_decoupled-%v", label, t, decay, decoupled),
					op:    engine.Adam{K: len(shapes), Beta1: 0.9, Beta2: 0.999, Eps: 1e-4, Decoupled: decoupled},
					in:    in,
				})
			}
		}
	}
	return cases
}

func sgdCases(label string, shapes [][]int, p, g []input) (cases []testCase) {
	for _, op := range []engine.SGD{{}, {Momentum: 0.9}, {Momentum: 0.9, Nesterov: true}} {
		op.K = len(shapes)
		for _, t := range []float64{1, 2} {
			in := append(append([]input{hyper(0.1, 5e-4, t), scalar(0.37)}, p...), g...)
			if op.Momentum != 0 {
				in = append(in, group(shapes, small)...)
			}
			cases = append(cases, testCase{
				label: fmt.Sprintf("%s_step%v_momentum%v_nesterov-%v", label, t, op.Momentum, op.Nesterov), op: op, in: in})
		}
	}
	return cases
}

func clipCases(label string, shapes [][]int) (cases []testCase) {
	for _, clip := range []float32{0, 1, 1e6} {
		cases = append(cases,
			testCase{label: fmt.Sprintf("%s_max%v", label, clip), op: engine.ClipScale{MaxNorm: clip}, in: group(shapes, randn)},
			testCase{label: fmt.Sprintf("%s_max%v_zero", label, clip), op: engine.ClipScale{MaxNorm: clip}, in: group(shapes, zeros)})
	}
	return cases
}
