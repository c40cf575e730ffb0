//go:build !cgo

package cpu

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func act(p ptr, task int64) {
	a := (*actArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	a.act.apply(f32(a.x, a.n)[lo:hi], f32(a.y, a.n)[lo:hi])
}

func actBackward(p ptr, task int64) {
	a := (*actArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	a.act.back(f32(a.x, a.n)[lo:hi], f32(a.dy, a.n)[lo:hi], f32(a.y, a.n)[lo:hi])
}

// activate is Identity, ReLU or ReLU6; a NaN stays one.
func activate(v float32, f int64) float32 {
	if f == int64(engine.Identity.Fn) {
		return v
	}
	if v < 0 {
		return 0
	}
	if f == int64(engine.ReLU6.Fn) && v > 6 {
		return 6
	}
	return v
}

// through is dy where the slope of that activation at its result y is one.
func through(y, dy float32, f int64) float32 {
	if f != int64(engine.Identity.Fn) && (y <= 0 || f == int64(engine.ReLU6.Fn) && y >= 6) {
		return 0
	}
	return dy
}

// apply sets y to f(x); y may be x.
func (f *actFunc) apply(x, y []float32) {
	if f.f <= int64(engine.FuncReLU6) {
		for i, v := range x {
			y[i] = activate(v, f.f)
		}
		return
	}
	for i, v := range x {
		y[i] = float32(f.value(float64(v)))
	}
}

// back sets dx to dy·f'(s), for s as engine.Act.FromX has it; dx may be dy.
func (f *actFunc) back(s, dy, dx []float32) {
	if f.f <= int64(engine.FuncReLU6) {
		for i, v := range s {
			dx[i] = through(v, dy[i], f.f)
		}
		return
	}
	for i, v := range s {
		dx[i] = f.through(v, dy[i])
	}
}

// through is dy·f'(s); where the slope is zero, it is zero whatever dy is.
func (f *actFunc) through(s, dy float32) float32 {
	d := f.slope(float64(s))
	if d == 0 {
		return 0
	}
	return float32(float64(dy) * d)
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// normal is the normal distribution Φ(x).
func normal(x float64) float64 { return 0.5 * math.Erfc(x*(-math.Sqrt2/2)) }

// geluInner is twice the argument of GELU's tanh.
func geluInner(x float64) float64 { return 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }

// mishGate is tanh(log(1+eˣ)).
func mishGate(x float64) float64 {
	e := math.Exp(min(x, 30))
	t := e * (e + 2)
	return t / (t + 2)
}

// choose is a where c, else b.
func choose(c bool, a, b float64) float64 {
	if c {
		return a
	}
	return b
}

// value is f(x), for a function other than Identity, ReLU and ReLU6.
func (f *actFunc) value(x float64) float64 {
	a, b, c := f.a, f.b, f.c
	switch engine.Func(f.f) {
	case engine.FuncClip:
		return min(max(x, a), b)
	case engine.FuncLeakyReLU:
		return choose(x > 0, x, a*x)
	case engine.FuncThresholdedReLU:
		return choose(x <= a, 0, x)
	case engine.FuncHardSigmoid:
		return min(max(a*x+b, 0), 1)
	case engine.FuncHardSwish:
		return x * min(max(x+3, 0), 6) / 6
	case engine.FuncAbs:
		return math.Abs(x)
	case engine.FuncNeg:
		return -x
	case engine.FuncReciprocal:
		return 1 / x
	case engine.FuncSqrt:
		return math.Sqrt(x)
	case engine.FuncSoftsign:
		return x / (1 + math.Abs(x))
	case engine.FuncExp:
		return math.Exp(x)
	case engine.FuncELU, engine.FuncCELU, engine.FuncSELU:
		return choose(x > 0, a*x, b*math.Expm1(c*x))
	case engine.FuncSigmoid:
		return logistic(x)
	case engine.FuncSiLU:
		return x * logistic(x)
	case engine.FuncTanh:
		return math.Tanh(x)
	case engine.FuncGELU:
		return x * normal(x)
	case engine.FuncGELUTanh:
		return x * logistic(geluInner(x))
	case engine.FuncMish:
		return x * mishGate(x)
	case engine.FuncSoftplus:
		return choose(a*x > b, x, (max(a*x, 0)+math.Log1p(math.Exp(-math.Abs(a*x))))*c)
	case engine.FuncLog:
		return math.Log(x)
	case engine.FuncErf:
		return math.Erf(x)
	}
	return math.Pow(x, a)
}

// slope is f', computed from s as engine.Act.FromX has it, for a function other
// than Identity, ReLU and ReLU6.
func (f *actFunc) slope(s float64) float64 {
	a, b, c := f.a, f.b, f.c
	switch engine.Func(f.f) {
	case engine.FuncClip:
		return choose(s <= a || s >= b, 0, 1)
	case engine.FuncLeakyReLU:
		return choose(s > 0, 1, a)
	case engine.FuncThresholdedReLU:
		return choose(s <= a, 0, 1)
	case engine.FuncHardSigmoid:
		return choose(s <= 0 || s >= 1, 0, a)
	case engine.FuncHardSwish:
		return choose(s < -3, 0, choose(s >= 3, 1, s/3+0.5))
	case engine.FuncAbs:
		return choose(s > 0, 1, choose(s < 0, -1, 0))
	case engine.FuncNeg:
		return -1
	case engine.FuncReciprocal:
		return -s * s
	case engine.FuncSqrt:
		return 0.5 / s
	case engine.FuncSoftsign:
		return 1 / ((1 + math.Abs(s)) * (1 + math.Abs(s)))
	case engine.FuncExp:
		return s
	case engine.FuncELU, engine.FuncCELU, engine.FuncSELU:
		if b > 0 { // s is y
			return choose(s > 0, a, (s+b)*c)
		}
		return choose(s > 0, a, b*c*math.Exp(c*s))
	case engine.FuncSoftplus:
		return choose(a*s > b, 1, logistic(a*s))
	case engine.FuncLog:
		return 1 / s
	case engine.FuncPow:
		if a == 0 {
			return 0
		}
		return a * math.Pow(s, a-1)
	}
	return f.smooth(s)
}

// smooth is slope for the functions made of exponentials.
func (f *actFunc) smooth(s float64) float64 {
	switch engine.Func(f.f) {
	case engine.FuncSigmoid:
		return s * (1 - s)
	case engine.FuncTanh:
		return 1 - s*s
	case engine.FuncSiLU:
		g := logistic(s)
		return g + s*g*(1-g)
	case engine.FuncGELU:
		return normal(s) + s*math.Exp(-0.5*s*s)/math.Sqrt(2*math.Pi)
	case engine.FuncGELUTanh:
		s = min(max(s, -20), 20) // beyond, it is 0 or 1
		g := logistic(geluInner(s))
		return g + s*g*(1-g)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*s*s)
	case engine.FuncMish:
		t := mishGate(s)
		return t + s*logistic(s)*(1-t*t)
	}
	return 2 / math.Sqrt(math.Pi) * math.Exp(-s*s) // of Erf
}
