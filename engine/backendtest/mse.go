package backendtest

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() {
	register(func() []testCase {
		var cases []testCase
		for _, shape := range [][]int{{1}, {7}, {2, 3}, {3, 5, 5, 6}, {2, 9, 7, 16}, {1, 33, 65, 64}, {5, 70000}} {
			cases = append(cases, mseOn("", randn(shape...))...)
		}
		return append(cases, mseOn("_far", scaled(2, 500, 3, 40))...)
	})
}

// mseOn are the cases of the mean squared error over inputs like x.
func mseOn(note string, x input) []testCase {
	return []testCase{
		{label: x.Spec.String() + note, op: engine.MSE{}, in: []input{x, x}},
		{label: x.Spec.String() + note + "_same", op: engine.MSE{}, in: []input{x, x},
			prepare: func(in []ref.Array) { copy(in[1].V, in[0].V) }},
		{label: x.Spec.String() + note, op: engine.MSEBackward{}, in: []input{x, x, scalar(0.7)}},
	}
}
