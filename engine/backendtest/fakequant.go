package backendtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

func init() { register(fakeQuantCases) }

func fakeQuantCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1}, {3, 7}, {5, 96}, {70, 44}, {2, 2056}, {300, 3}, {2, 9, 7, 5}, {1, 16, 16, 32}, {3, 3, 8, 17}} {
		for _, op := range []engine.FakeQuant{{Lo: -128, Hi: 127, Gain: 1}, {Lo: 0, Hi: 255, Zero: true, Gain: 0.25}, {Lo: -8, Hi: 7, Gain: 2}} {
			for _, scales := range []int{1, s[len(s)-1]} {
				cases = append(cases, fakeQuantOn(op, scales, s)...)
			}
		}
	}
	return cases
}

// fakeQuantOn runs FakeQuant and its gradient. Some quotients are halves exactly,
// some lie outside of the codes.
func fakeQuantOn(op engine.FakeQuant, scales int, s []int) []testCase {
	step := 4 / float64(op.Hi-op.Lo)
	in := []input{
		scaled(1.3, 0.2, s...).with(0, 0.5*step, 1.5*step, -0.5*step, 2.5*step, 100, -100),
		{engine.F32(scales), func(rng *rand.Rand, i int) float64 {
			if i == 0 {
				return step
			}
			return step * (0.5 + rng.Float64())
		}},
	}
	if op.Zero {
		in = append(in, input{engine.F32(scales), func(rng *rand.Rand, i int) float64 { return float64(rng.IntN(int(op.Hi) + 1)) }})
	}
	label := fmt.Sprintf("%v_%d..%d_scales=%d", in[0].Spec, op.Lo, op.Hi, scales)
	return []testCase{
		{label: label, op: op, in: in},
		{label: label, op: engine.FakeQuantBackward(op), in: append([]input{randn(s...)}, in...)},
	}
}
