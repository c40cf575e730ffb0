package backendtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(lossCases) }

func lossCases() (cases []testCase) {
	for _, s := range [][2]int{{1, 1}, {1, 11}, {3, 11}, {33, 5}, {2, 1000}, {31, 10}} {
		n, k := s[0], s[1]
		oneHot := input{engine.F32(n, k), func(_ *rand.Rand, i int) float64 {
			if i%k == i/k*3%k {
				return 1
			}
			return 0
		}}
		for _, x := range []struct {
			note string
			input
		}{{"", randn(n, k)}, {"_wide", scaled(40, 0, n, k)}, {"_far", scaled(2, 500, n, k)}} {
			label := fmt.Sprintf("%dx%d%s", n, k, x.note)
			for _, eps := range []float32{0, 0.1} {
				label := fmt.Sprintf("%s_smoothing%v", label, eps)
				for i, target := range []input{oneHot, positive(n, k)} {
					l, prepare := label+"_onehot", func(in []ref.Array) {}
					if i == 1 {
						l, prepare = label+"_mixed", func(in []ref.Array) { toProbabilities(in[1]) }
					}
					cases = append(cases,
						testCase{label: l, op: engine.CrossEntropy{LabelSmoothing: eps}, in: []input{x.input, target}, prepare: prepare},
						testCase{label: l, op: engine.CrossEntropyBackward{LabelSmoothing: eps},
							in: []input{x.input, target, scalar(0.7)}, prepare: prepare})
				}
			}
			for _, t := range []float32{1, 4, 20} {
				label := fmt.Sprintf("%s_T%v", label, t)
				teacher := scaled(3, 1, n, k)
				cases = append(cases,
					testCase{label: label, op: engine.KLDiv{T: t}, in: []input{x.input, teacher}},
					testCase{label: label, op: engine.KLDivBackward{T: t}, in: []input{x.input, teacher, scalar(-0.7)}},
					testCase{label: label + "_same", op: engine.KLDiv{T: t}, in: []input{x.input, teacher},
						prepare: func(in []ref.Array) { copy(in[1].V, in[0].V) }})
			}
		}
	}
	return cases
}

// toProbabilities divides each row by its sum.
func toProbabilities(x ref.Array) {
	k := x.Shape[1]
	for n := range x.Shape[0] {
		row, s := x.V[n*k:(n+1)*k], 0.0
		for _, v := range row {
			s += v
		}
		for i := range row {
			row[i] /= s
		}
	}
}
