package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func init() { register(activationCases) }

// tableOfActs has all functions of engine.Act beside Identity, ReLU and ReLU6,
// those with constants with several.
func tableOfActs() []engine.Act {
	return []engine.Act{
		engine.Clip(-1, 1), engine.Clip(float32(math.Inf(-1)), 2), engine.Clip(-0.5, float32(math.Inf(1))),
		engine.LeakyReLU(0.01), engine.LeakyReLU(-0.5), engine.LeakyReLU(0), engine.ThresholdedReLU(1), engine.ThresholdedReLU(-1),
		engine.HardSigmoid(1./6, 0.5), engine.HardSigmoid(-0.2, 0.4), engine.HardSwish,
		engine.Abs, engine.Neg, engine.Reciprocal, engine.Sqrt, engine.Softsign, engine.Exp,
		engine.ELU(1), engine.ELU(0.3), engine.ELU(-2), engine.CELU(1), engine.CELU(2.5), engine.SELU,
		engine.Sigmoid, engine.SiLU, engine.Tanh, engine.GELU, engine.GELUTanh, engine.Mish,
		engine.Softplus(1, 20), engine.Softplus(-2, 20), engine.Softplus(3, 1), engine.Log, engine.Erf,
		engine.Pow(2), engine.Pow(3), engine.Pow(0.5), engine.Pow(-1), engine.Pow(-2), engine.Pow(0), engine.Pow(1),
		engine.Pow(1.7), engine.Pow(-0.3), engine.Pow(16), engine.Pow(17), engine.Pow(-18),
	}
}

// positiveOnly reports whether f is NaN, or another's job, for x < 0.
func positiveOnly(f engine.Act) bool {
	return f.Fn == engine.FuncSqrt || f.Fn == engine.FuncLog || f.Fn == engine.FuncPow && f.A != float32(math.Trunc(float64(f.A)))
}

func activationCases() (cases []testCase) {
	corners := []float64{0, 6, math.NaN(), math.Inf(1), math.Inf(-1), -0x1p-120, 6.000001}
	for _, f := range []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6} {
		for _, shape := range [][]int{{}, {5}, {1, 1, 1, 1}, {3, 11}, {1, 31, 33, 3}, {3, 7, 5, 89}} {
			x, dy := scaled(5, 1, shape...), randn(shape...)
			label := fmt.Sprintf("%v_%v", f, x.Spec)
			cases = append(cases, testCase{label: label, op: engine.Activation{F: f}, in: []input{x}},
				testCase{label: label, op: engine.ActivationBackward{F: f}, in: []input{x, dy}, prepare: activate(f)})
			if x.Len() > 2*len(corners) {
				cases = append(cases,
					testCase{label: label + "_corners", op: engine.Activation{F: f}, in: []input{x.with(corners...)}})
			}
		}
	}
	for _, f := range tableOfActs() {
		cases = append(cases, activationOn(f, scaled(3, 0.5, 3, 11))...)
		cases = append(cases, activationOn(f, sweep(20))...)
		cases = append(cases, activationOn(f, given(engine.F32(12), -3, -2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 3, 6))[1])
		// Where a slope overflows, a backend may multiply it with dy in any order.
		cases = append(cases, activationOn(f, magnitudes(-140))[0])
		if math.Abs(float64(f.A)) < 4 {
			cases = append(cases, activationOn(f, magnitudes(-6))[1])
		}
		special := given(engine.F32(9), 0, math.NaN(), math.Inf(1), math.Inf(-1), 0x1p-140, -0x1p-140, 1, -1, 3)
		if f.Fn == engine.FuncPow { // what infinities have for a power is the C library's business
			special = given(engine.F32(5), 0, math.NaN(), 1, 0x1p-120, 3)
		}
		cases = append(cases, testCase{label: fmt.Sprintf("%v_special", f), op: engine.Activation{F: f}, in: []input{special}})
	}
	return cases
}

// activationOn is f and its gradient on x; where f is for x > 0 only, on |x|.
func activationOn(f engine.Act, x input) []testCase {
	if positiveOnly(f) {
		at := x.at
		x.at = func(rng *rand.Rand, i int) float64 { return math.Abs(at(rng, i)) }
	}
	label := fmt.Sprintf("%v_%v", f, x.Spec)
	dy := randn(x.Shape...)
	dy.DType = x.DType
	back := testCase{label: label, op: engine.ActivationBackward{F: f}, in: []input{x, dy}}
	if !f.FromX() {
		back.prepare = activate(f)
	}
	return []testCase{{label: label, op: engine.Activation{F: f}, in: []input{x}}, back}
}

// sweep is an input of 4099 numbers evenly from -most to most, and between them.
func sweep(most float64) input {
	const n = 4099
	return input{engine.F32(n), func(rng *rand.Rand, i int) float64 {
		return most * (2*(float64(i)+rng.Float64()-0.5)/(n-1) - 1)
	}}
}

// magnitudes is an input of numbers of both signs and of magnitudes from 2^least to
// 2^20, and of some that are beyond what most functions can tell apart, ±100, ±10⁴
// and numbers below the normal ones among them.
func magnitudes(least int) input {
	x := input{engine.F32(1031), func(rng *rand.Rand, i int) float64 {
		return math.Ldexp(1+rng.Float64(), least+rng.IntN(20-least)) * float64(1-i%2*2)
	}}
	return x.with(100, -100, 1e4, -1e4, 1e-40, -1e-40, 88, -88, 89.5, -89.5, 104, -104, 1e-45, 20.5, -20.5)
}

// activate replaces the first input by its activation.
func activate(f engine.Act) func(in []ref.Array) {
	return func(in []ref.Array) {
		if y, err := ref.Eval(engine.Activation{F: f}, in[:1]); err == nil {
			in[0].V = y[0].V
		}
	}
}
