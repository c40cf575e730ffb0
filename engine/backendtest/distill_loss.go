package backendtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(distillLossCases) }

func distillLossCases() (cases []testCase) {
	for _, s := range [][2]int{{1, 1}, {1, 11}, {3, 11}, {33, 5}, {2, 1000}, {31, 10}, {300, 37}} {
		n, k := s[0], s[1]
		oneHot := input{engine.F32(n, k), func(_ *rand.Rand, i int) float64 {
			if i%k == i/k*3%k {
				return 1
			}
			return 0
		}}
		teacher := scaled(3, 1, n, k)
		for _, x := range []struct {
			note string
			input
		}{{"", randn(n, k)}, {"_wide", scaled(40, 0, n, k)}, {"_far", scaled(2, 500, n, k)}} {
			for i, op := range []engine.DistillLoss{
				{T: 20, Hard: 0.5, Soft: 0.5},
				{T: 1, LabelSmoothing: 0.1, Hard: 0.1, Soft: 0.9},
				{T: 4, LabelSmoothing: 0.1, Hard: 1, Soft: 0},
				{T: 4, Hard: 0, Soft: -1.5},
			} {
				label := fmt.Sprintf("%dx%d%s_%+v", n, k, x.note, op)
				target, prepare := oneHot, func(in []ref.Array) {}
				if i%2 == 1 {
					target, prepare = positive(n, k), func(in []ref.Array) { toProbabilities(in[1]) }
				}
				cases = append(cases,
					testCase{label: label, op: op, in: []input{x.input, target, teacher}, prepare: prepare, fused: true},
					testCase{label: label, op: engine.DistillLossBackward(op), fused: true,
						in: []input{x.input, target, teacher, scalar(-0.7)}, prepare: prepare})
			}
		}
	}
	return cases
}
