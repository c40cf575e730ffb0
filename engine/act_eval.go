package engine

import "math"

// Eval returns f(x) in float64: what a table of a function's values is made of.
// Package ref has the definitions that backends are held to.
func (f Act) Eval(x float64) float64 {
	a, b := float64(f.A), float64(f.B)
	logistic := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	softplus := func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	clamp := func(x, least, most float64) float64 { return min(max(x, least), most) }
	tail := func(scale, inner float64) float64 { // of the ELUs
		if x > 0 {
			return x
		}
		return scale * math.Expm1(inner)
	}
	switch f.Fn {
	case FuncIdentity, FuncReLU, FuncReLU6, FuncClip:
		least, most, _ := f.Clamps()
		return clamp(x, float64(least), float64(most))
	case FuncLeakyReLU:
		if x > 0 {
			return x
		}
		return a * x
	case FuncThresholdedReLU:
		if x > a {
			return x
		}
		return 0
	case FuncHardSigmoid:
		return clamp(a*x+b, 0, 1)
	case FuncHardSwish:
		return x * clamp(x+3, 0, 6) / 6
	case FuncAbs:
		return math.Abs(x)
	case FuncNeg:
		return -x
	case FuncReciprocal:
		return 1 / x
	case FuncSqrt:
		return math.Sqrt(x)
	case FuncSoftsign:
		return x / (1 + math.Abs(x))
	case FuncExp:
		return math.Exp(x)
	case FuncELU:
		return tail(a, x)
	case FuncCELU:
		return tail(a, x/a)
	case FuncSELU:
		return seluScale * tail(seluAlpha, x)
	case FuncSigmoid:
		return logistic(x)
	case FuncSiLU:
		return x * logistic(x)
	case FuncTanh:
		return math.Tanh(x)
	case FuncGELU:
		return x * 0.5 * (1 + math.Erf(x/math.Sqrt2))
	case FuncGELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case FuncMish:
		return x * math.Tanh(softplus(x))
	case FuncSoftplus:
		if a*x > b {
			return x
		}
		return softplus(a*x) / a
	case FuncLog:
		return math.Log(x)
	case FuncErf:
		return math.Erf(x)
	case FuncPow:
		return math.Pow(x, a)
	}
	return math.NaN()
}
