package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(int8Cases) }

// int8Cases runs pointwise convolutions in integers and the quantisation of
// their weights.
func int8Cases() (cases []testCase) {
	for _, s := range []struct {
		n, h, w, i, o int
		bias          bool
	}{
		{1, 1, 1, 1, 1, true}, {1, 1, 1, 16, 32, true}, {1, 1, 33, 16, 32, false}, {1, 3, 11, 44, 44, true},
		{3, 5, 7, 89, 89, true}, {2, 7, 7, 44, 121, true}, {1, 1, 33, 256, 256, true}, {1, 16, 16, 89, 16, false},
		{1, 1, 13, 32, 48, true}, {1, 31, 33, 17, 80, true}, {2, 2, 3, 121, 89, false}, {1, 1, 7, 1025, 65, true},
	} {
		for _, limit := range []float32{6, 1} {
			op := engine.PointwiseInt8{Max: limit}
			codes, o := code(s.i, s.o), positive(s.o)
			in := []input{nearBytes(limit, s.n, s.h, s.w, s.i), codes, o, randn(s.o)}
			if s.bias {
				in = append(in, scaled(100, 0, s.o))
			}
			label := fmt.Sprintf("%v_%d_max%g", in[0].Spec, s.o, limit)
			cases = append(cases, testCase{label: label, op: op, in: in, fused: true})
			if s.h > 1 && limit == 6 {
				op.Pool = &engine.Window{Kernel: 2}
				cases = append(cases, testCase{label: label + "_pool", op: op, in: in, fused: true})
			}
		}
	}
	nan := nearBytes(6, 3, 5, 5, 20).with(math.NaN(), 1, 2)
	in := []input{nan, code(20, 40), positive(40), randn(40)}
	cases = append(cases, testCase{label: "NaN", op: engine.PointwiseInt8{Max: 6}, in: in, fused: true},
		testCase{label: "NaN_pool", op: engine.PointwiseInt8{Max: 6, Pool: &engine.Window{Kernel: 2, Stride: 2}}, in: in, fused: true})
	for _, s := range [][2]int{{1, 1}, {16, 32}, {44, 89}, {121, 44}, {256, 256}, {3, 17}, {33, 1}} {
		for _, per := range []bool{false, true} {
			w := scaled(0.1, 0.02, 1, 1, s[0], s[1])
			equal := given(w.Spec, make([]float64, w.Len())...)
			for name, w := range map[string]input{"": w, "equal": equal} {
				cases = append(cases, testCase{label: fmt.Sprintf("%v_%v%s", w.Spec, per, name), op: engine.QuantizeWeight{PerChannel: per}, in: []input{w}, fused: true})
			}
		}
	}
	return cases
}

// nearBytes is an input of multiples of limit/255, each off by so much less than
// half a step that every arithmetic rounds it to the same byte; some lie
// outside [0, limit].
func nearBytes(limit float32, shape ...int) input {
	return input{engine.F32(shape...), func(rng *rand.Rand, i int) float64 {
		k := float64(rng.IntN(256))
		switch i % 37 {
		case 5:
			k = -3
		case 11:
			k = 4e9
		case 23:
			k = 255
		}
		return (k + 0.9*(rng.Float64()-0.5)) * float64(limit) / 255
	}}
}

// code is an input of the codes of a weight with i inputs and o outputs; behind
// these is what no kernel may rely on.
func code(i, o int) input {
	s := engine.Spec{Shape: []int{(o + 15) / 16, (i + 3) / 4, 16, 4}, DType: engine.Uint8}
	return input{s, func(rng *rand.Rand, _ int) float64 { return float64(rng.IntN(256)) }}
}
