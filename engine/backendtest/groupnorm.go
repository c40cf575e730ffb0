package backendtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(groupNormCases) }

func groupNormCases() (cases []testCase) {
	for _, s := range append([][]int{{2, 1, 1, 6}, {3, 4, 4, 24}}, imageShapes...) {
		for groups := 1; groups <= s[3]; groups++ {
			if few := groups < 5 || groups == s[3]; s[3]%groups == 0 && few {
				cases = append(cases, groupNormOn(groups, 1e-5, "", pictures(s...))...)
			}
		}
	}
	// Images of which a part is a task.
	cases = append(cases, groupNormOn(8, 1e-5, "", pictures(1, 43, 49, 32))...)
	cases = append(cases, groupNormOn(5, 1e-5, "", pictures(2, 37, 57, 35))...)
	cases = append(cases, groupNormOn(4, 1e-2, "_eps1e-2", scaled(0.1, 0, 3, 5, 7, 16))...)
	cases = append(cases, groupNormOn(8, 1e-5, "_mean1000", scaled(1, 1000, 2, 9, 7, 32))...)
	cases = append(cases, groupNormOn(3, 1e-5, "_mean-300", scaled(0.1, -300, 1, 31, 33, 3))...)
	// Groups that are constant: the variance is zero.
	flat := input{engine.F32(3, 5, 4, 6), func(_ *rand.Rand, i int) float64 { return 0.3 * float64(i%6/2+i/120) }}
	return append(cases, groupNormOn(3, 1e-5, "_constant", flat)...)
}

// pictures is an input whose images and channels have their own means and spreads.
func pictures(s ...int) input {
	c, size := s[3], s[1]*s[2]*s[3]
	return input{engine.F32(s...), func(rng *rand.Rand, i int) float64 {
		return (0.5+float64(i%c)/float64(c)+float64(i/size%3))*rng.NormFloat64() + float64(i%c%5) - 2 + 3*float64(i/size)
	}}
}

// groupNormOn runs GroupNorm on x, forwards and backwards.
func groupNormOn(groups int, eps float32, note string, x input) []testCase {
	n, c := x.Shape[0], x.Shape[3]
	op := engine.GroupNorm{Groups: groups, Eps: eps}
	label := fmt.Sprintf("%v_%d%s", x.Spec, groups, note)
	return []testCase{{label: label, op: op, in: []input{x, gammas(1, c), randn(c)}},
		{label: label, op: engine.GroupNormBackward{}, in: []input{x, randn(x.Shape...), gammas(1, c), randn(n, groups), positive(n, groups)},
			prepare: func(in []ref.Array) {
				out, err := ref.Eval(op, []ref.Array{in[0], in[2], in[2]})
				if err != nil {
					panic(err) // a programmer's error in the table
				}
				in[3].V, in[4].V = out[1].V, out[2].V
			}}}
}
