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
	value := f.value()
	for i, v := range x {
		y[i] = float32(value(float64(v)))
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
	slope := f.slope()
	for i, v := range s {
		if d := slope(float64(v)); d != 0 {
			dx[i] = float32(float64(dy[i]) * d)
		} else {
			dx[i] = 0
		}
	}
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

// value returns f, for a function other than Identity, ReLU and ReLU6.
func (f *actFunc) value() func(x float64) float64 {
	a, b, c := f.a, f.b, f.c
	switch engine.Func(f.f) {
	case engine.FuncClip:
		return func(x float64) float64 { return min(max(x, a), b) }
	case engine.FuncLeakyReLU:
		return func(x float64) float64 {
			if x > 0 {
				return x
			}
			return a * x
		}
	case engine.FuncThresholdedReLU:
		return func(x float64) float64 {
			if x <= a {
				return 0
			}
			return x
		}
	case engine.FuncHardSigmoid:
		return func(x float64) float64 { return min(max(a*x+b, 0), 1) }
	case engine.FuncHardSwish:
		return func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 }
	case engine.FuncAbs:
		return math.Abs
	case engine.FuncNeg:
		return func(x float64) float64 { return -x }
	case engine.FuncReciprocal:
		return func(x float64) float64 { return 1 / x }
	case engine.FuncSqrt:
		return math.Sqrt
	case engine.FuncSoftsign:
		return func(x float64) float64 { return x / (1 + math.Abs(x)) }
	case engine.FuncELU, engine.FuncCELU, engine.FuncSELU:
		return func(x float64) float64 {
			if x > 0 {
				return a * x
			}
			return b * math.Expm1(c*x)
		}
	case engine.FuncPow:
		return func(x float64) float64 { return math.Pow(x, a) }
	case engine.FuncSoftplus:
		return func(x float64) float64 {
			if a*x > b {
				return x
			}
			return (max(a*x, 0) + math.Log1p(math.Exp(-math.Abs(a*x)))) * c
		}
	}
	return smoothValues[engine.Func(f.f)]
}

// smoothValues are the functions without corners and constants.
var smoothValues = map[engine.Func]func(x float64) float64{
	engine.FuncExp:      math.Exp,
	engine.FuncSigmoid:  logistic,
	engine.FuncSiLU:     func(x float64) float64 { return x * logistic(x) },
	engine.FuncTanh:     math.Tanh,
	engine.FuncGELU:     func(x float64) float64 { return x * normal(x) },
	engine.FuncGELUTanh: func(x float64) float64 { return x * logistic(geluInner(x)) },
	engine.FuncMish:     func(x float64) float64 { return x * mishGate(x) },
	engine.FuncLog:      math.Log,
	engine.FuncErf:      math.Erf,
}

// slope returns f', for a function other than Identity, ReLU and ReLU6.
func (f *actFunc) slope() func(s float64) float64 {
	a, b, c := f.a, f.b, f.c
	step := func(zero bool, d float64) float64 {
		if zero {
			return 0
		}
		return d
	}
	switch engine.Func(f.f) {
	case engine.FuncClip:
		return func(y float64) float64 { return step(y <= a || y >= b, 1) }
	case engine.FuncLeakyReLU:
		return func(s float64) float64 {
			if s > 0 {
				return 1
			}
			return a
		}
	case engine.FuncThresholdedReLU:
		return func(x float64) float64 { return step(x <= a, 1) }
	case engine.FuncHardSigmoid:
		return func(y float64) float64 { return step(y <= 0 || y >= 1, a) }
	case engine.FuncHardSwish:
		return func(x float64) float64 {
			if x > 3 {
				return 1
			}
			return step(x < -3, x/3+0.5)
		}
	case engine.FuncAbs:
		return func(x float64) float64 {
			if x < 0 {
				return -1
			}
			return step(!(x > 0), 1)
		}
	case engine.FuncELU, engine.FuncCELU, engine.FuncSELU:
		return func(s float64) float64 {
			switch {
			case s > 0:
				return a
			case b > 0: // s is y
				return (s + b) * c
			}
			return b * c * math.Exp(c*s)
		}
	case engine.FuncSoftplus:
		return func(x float64) float64 {
			if a*x > b {
				return 1
			}
			return logistic(a * x)
		}
	case engine.FuncPow:
		return func(x float64) float64 {
			if a == 0 {
				return 0
			}
			return a * math.Pow(x, a-1)
		}
	}
	return smoothSlopes[engine.Func(f.f)]
}

// smoothSlopes are the derivatives of the functions without corners and constants.
var smoothSlopes = map[engine.Func]func(s float64) float64{
	engine.FuncNeg:        func(float64) float64 { return -1 },
	engine.FuncReciprocal: func(y float64) float64 { return -y * y },
	engine.FuncSqrt:       func(y float64) float64 { return 0.5 / y },
	engine.FuncSoftsign:   func(x float64) float64 { return 1 / ((1 + math.Abs(x)) * (1 + math.Abs(x))) },
	engine.FuncExp:        func(y float64) float64 { return y },
	engine.FuncSigmoid:    func(y float64) float64 { return y * (1 - y) },
	engine.FuncTanh:       func(y float64) float64 { return 1 - y*y },
	engine.FuncSiLU: func(x float64) float64 {
		g := logistic(x)
		return g + x*g*(1-g)
	},
	engine.FuncGELU: func(x float64) float64 {
		return normal(x) + x*math.Exp(-0.5*x*x)/math.Sqrt(2*math.Pi)
	},
	engine.FuncGELUTanh: func(x float64) float64 {
		x = min(max(x, -20), 20) // beyond, it is 0 or 1
		g := logistic(geluInner(x))
		return g + x*g*(1-g)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	},
	engine.FuncMish: func(x float64) float64 {
		t := mishGate(x)
		return t + x*logistic(x)*(1-t*t)
	},
	engine.FuncLog: func(x float64) float64 { return 1 / x },
	engine.FuncErf: func(x float64) float64 { return 2 / math.Sqrt(math.Pi) * math.Exp(-x*x) },
}
