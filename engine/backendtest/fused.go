package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(fusedCases) }

func fusedCases() (cases []testCase) {
	pools := []*engine.Window{nil, {Kernel: engine.Both(2)}, {Kernel: engine.Both(3), Stride: engine.Both(2), Pad: engine.Around(1)}, {Kernel: engine.Both(2), Stride: engine.Both(1)}, {Kernel: engine.Both(2), Stride: engine.Both(3)}}
	for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {3, 7, 7, 44}, {2, 3, 5, 89}, {1, 4, 4, 121}, {1, 2, 3, 1}} {
		for _, p := range pools {
			if p != nil && p.Kernel[0] > p.Pad.Height(s[1]) {
				continue
			}
			for _, f := range []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6} {
				cases = append(cases, fusedCase(s, f, p)...)
			}
		}
	}
	// Activations with a slope from x and from y, with a corner and without.
	for _, f := range []engine.Act{engine.SiLU, engine.HardSwish, engine.LeakyReLU(0.1), engine.Tanh} {
		for _, s := range [][]int{{3, 5, 7, 3}, {1, 31, 33, 16}, {2, 3, 5, 89}} {
			cases = append(cases, slices.Concat(fusedCase(s, f, nil), fusedCase(s, f, &engine.Window{Kernel: engine.Both(2)}))...)
		}
	}
	for _, c := range []int{257, 1028} { // more channels than a block has threads
		cases = append(cases, fusedCase([]int{1, 3, 4, c}, engine.ReLU, &engine.Window{Kernel: engine.Both(2)})...)
	}
	return append(cases, fusedCase([]int{2, 7, 8, 4}, engine.ReLU6, &engine.Window{Kernel: engine.Both(3)})...)
}

// fusedCase runs BatchNormAct forwards, in both modes, and backwards. Its x has
// many equal elements, so that pools have ties and corners can be kept away from.
func fusedCase(s []int, f engine.Act, pool *engine.Window) []testCase {
	bn := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
	c := s[3]
	x, gamma, beta := grid(0.25, s...), gammas(4, c), scaled(2, 1, c)
	forward := engine.BatchNormAct{BatchNorm: bn, F: f, Pool: pool}
	eval := forward
	eval.BatchNorm.Train = false
	back := engine.BatchNormActBackward{F: f, Pool: pool}
	y, dy := x.Spec, randn(s...)
	label := fmt.Sprintf("%v_%v", f, y)
	if pool != nil {
		label += fmt.Sprintf("_k%ds%dp%d", pool.Kernel, pool.Stride, pool.Pad)
		out, err := engine.MaxPool2D{Window: *pool}.Infer([]engine.Spec{y})
		if err != nil {
			panic(err) // a programmer's error in the table
		}
		dy = randn(out[0].Shape...)
	}
	in := []input{x, gamma, beta, randn(c), positive(c)}
	cases := []testCase{
		{label: "train_" + label, op: forward, in: in, fused: true},
		{label: "eval_" + label, op: eval, in: in, fused: true},
		{label: label, op: back, in: []input{x, dy, gamma, beta, randn(c), positive(c)}, fused: true,
			prepare: func(in []ref.Array) { in[4].V, in[5].V = stats(bn, in[0]) },
			accept:  func(in []ref.Array) bool { return clearOfCorners(f, in) }},
	}
	if pool != nil && pool.Tiles() {
		cases = append(cases, keptCases(forward, in, dy, label)...)
	}
	return cases
}

// keptCases runs a BatchNormAct that keeps what won each window, and its gradient.
func keptCases(forward engine.BatchNormAct, in []input, dy input, label string) []testCase {
	forward.Keep = true
	if forward.F == engine.Tanh { // which is 1 from 9 on in float32: there all x have won
		c := in[1].Spec.Shape[0]
		in = slices.Clone(in)
		in[1], in[2] = gammas(0.5, c), scaled(0.5, 0, c)
	}
	x, won := in[0], dy
	backward := func(in []ref.Array) []ref.Array { // its first six inputs
		mean, r := ref.NewArray(in[1].Spec), ref.NewArray(in[1].Spec)
		mean.V, r.V = stats(forward.BatchNorm, in[0])
		return []ref.Array{in[0], in[0], in[1], in[2], mean, r}
	}
	return []testCase{
		{label: "kept_" + label, op: forward, in: in, fused: true,
			accept: func(in []ref.Array) bool { return clearOfCorners(forward.F, backward(in)) }},
		{label: "kept_" + label, op: engine.BatchNormActBackward{F: forward.F, Pool: forward.Pool, Kept: true}, fused: true,
			in: []input{x, dy, in[1], in[2], in[3], in[4], won},
			prepare: func(in []ref.Array) {
				in[4].V, in[5].V = stats(forward.BatchNorm, in[0])
				out, err := ref.Eval(forward, []ref.Array{in[0], in[2], in[3], in[4], in[5]})
				if err != nil {
					panic(err) // a programmer's error in the table
				}
				in[6].V = out[5].V
			},
			accept: func(in []ref.Array) bool { return clearOfCorners(forward.F, in) }},
	}
}

// corners are the arguments at which the slope of an activation changes.
func corners(f engine.Act) []float64 {
	switch f.Fn {
	case engine.FuncReLU, engine.FuncReLU6:
		return []float64{0, 6}
	case engine.FuncLeakyReLU:
		return []float64{0}
	case engine.FuncHardSwish:
		return []float64{-3, 3}
	}
	return nil
}

// clearOfCorners reports whether no argument of the activation is so near to a
// corner that rounding decides the slope. in is that of BatchNormActBackward.
func clearOfCorners(f engine.Act, in []ref.Array) bool {
	x, gamma, beta, mean, r := in[0], in[2], in[3], in[4], in[5]
	for i, v := range x.V {
		k := i % len(gamma.V)
		z := (v-mean.V[k])*r.V[k]*gamma.V[k] + beta.V[k]
		for _, corner := range corners(f) {
			if math.Abs(z-corner) < 1e-4 {
				return false
			}
		}
	}
	return true
}
