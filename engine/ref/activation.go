package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(activation)
	define(activationBackward)
}

// SELU's scale λ and its α, of arXiv:1706.02515.
const (
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
)

// act is the activation f(x). A NaN fails every comparison and is returned.
func act(f engine.Act, x num) num {
	a, b := exact(float64(f.A)), exact(float64(f.B))
	if least, most, ok := f.Clamps(); ok {
		return clamp(x, float64(least), float64(most))
	}
	switch f.Fn {
	case engine.FuncLeakyReLU:
		return pieces(x, x, a.mul(x))
	case engine.FuncThresholdedReLU:
		if x.v <= a.v {
			return num{0, x.e}
		}
		return x
	case engine.FuncHardSigmoid:
		return clamp(a.mul(x).add(b), 0, 1)
	case engine.FuncHardSwish:
		return x.mul(clamp(x.add(exact(3)), 0, 6)).div(exact(6))
	case engine.FuncAbs:
		return num{math.Abs(x.v), x.e}
	case engine.FuncNeg:
		return num{-x.v, x.e}
	case engine.FuncReciprocal:
		return exact(1).div(x)
	case engine.FuncSqrt:
		return x.sqrt()
	case engine.FuncSoftsign:
		return x.div(exact(1).add(num{math.Abs(x.v), x.e}))
	case engine.FuncELU:
		return pieces(x, x, a.mul(x.expm1()))
	case engine.FuncCELU:
		return pieces(x, x, a.mul(x.div(a).expm1()))
	case engine.FuncSELU:
		return pieces(x, exact(seluScale).mul(x), exact(seluScale*seluAlpha).mul(x.expm1()))
	case engine.FuncPow:
		return x.pow(a.v)
	}
	return actSmooth(f, x)
}

// actSmooth is act for the functions without corners.
func actSmooth(f engine.Act, x num) num {
	switch f.Fn {
	case engine.FuncExp:
		return x.exp()
	case engine.FuncSigmoid:
		return x.logistic()
	case engine.FuncSiLU:
		return x.mul(x.logistic())
	case engine.FuncTanh:
		return x.tanh()
	case engine.FuncGELU:
		return x.mul(normal(x))
	case engine.FuncGELUTanh:
		return x.mul(exact(0.5)).mul(exact(1).add(geluInner(x).tanh()))
	case engine.FuncMish:
		return x.mul(x.softplus().tanh())
	case engine.FuncSoftplus:
		beta := exact(float64(f.A))
		u := beta.mul(x)
		if u.v > float64(f.B) {
			return x
		}
		return u.softplus().div(beta)
	case engine.FuncLog:
		return x.log()
	case engine.FuncErf:
		return x.erf()
	}
	panic("ref: activation " + f.String() + " has no definition")
}

// clamp is x between two bounds.
func clamp(x num, least, most float64) num {
	if x.v < least {
		x.v = least
	}
	if x.v > most {
		x.v = most
	}
	return x
}

// pieces is up for x > 0, else down. An error of x may take it to the other side
// of the corner, where both are 0.
func pieces(x, up, down num) num {
	if x.v > 0 {
		up.e = math.Max(up.e, x.e)
		return up
	}
	down.e = math.Max(down.e, x.e)
	return down
}

// normal is the normal distribution Φ(x), by the formula whose rounding errors
// are the larger ones for x < 0.
func normal(x num) num {
	return exact(0.5).mul(exact(1).add(x.mul(exact(math.Sqrt2 / 2)).erf()))
}

// geluInner is √(2/π)·(x+0.044715·x³).
func geluInner(x num) num {
	return exact(math.Sqrt(2 / math.Pi)).mul(x.add(exact(0.044715).mul(x.mul(x).mul(x))))
}

// slope is f'(x), computed from s, which is x or f(x) as f.FromX says.
func slope(f engine.Act, s num) num {
	a := exact(float64(f.A))
	one, zero := exact(1), exact(0)
	if least, most, ok := f.Clamps(); ok {
		if f != engine.Identity && (s.v <= float64(least) || s.v >= float64(most)) {
			return zero
		}
		return one
	}
	switch f.Fn {
	case engine.FuncLeakyReLU:
		if s.v > 0 {
			return one
		}
		return a
	case engine.FuncThresholdedReLU:
		if s.v <= a.v {
			return zero
		}
		return one
	case engine.FuncHardSigmoid:
		if s.v <= 0 || s.v >= 1 {
			return zero
		}
		return a
	case engine.FuncHardSwish:
		switch {
		case s.v < -3:
			return zero
		case s.v < 3:
			return s.div(exact(3)).add(exact(0.5))
		}
		return one
	case engine.FuncAbs:
		switch {
		case s.v > 0:
			return one
		case s.v < 0:
			return exact(-1)
		}
		return zero
	case engine.FuncNeg:
		return exact(-1)
	case engine.FuncELU, engine.FuncCELU, engine.FuncSELU:
		return slopeELU(f, s)
	}
	return slopeSmooth(f, s)
}

func slopeELU(f engine.Act, s num) num {
	a, one := exact(float64(f.A)), exact(1)
	switch {
	case f.Fn == engine.FuncSELU && s.v > 0:
		return exact(seluScale)
	case f.Fn == engine.FuncSELU:
		return s.add(exact(seluScale * seluAlpha))
	case s.v > 0:
		return one
	case f.Fn == engine.FuncELU && f.FromX():
		return a.mul(s.exp())
	case f.Fn == engine.FuncELU:
		return s.add(a)
	}
	return s.div(a).add(one)
}

// slopeSmooth is slope for the functions without corners.
func slopeSmooth(f engine.Act, s num) num {
	one := exact(1)
	switch f.Fn {
	case engine.FuncReciprocal:
		return exact(-1).mul(s.mul(s))
	case engine.FuncSqrt:
		return exact(0.5).div(s)
	case engine.FuncSoftsign:
		d := one.add(num{math.Abs(s.v), s.e})
		return one.div(d.mul(d))
	case engine.FuncExp:
		return s
	case engine.FuncSigmoid:
		return s.mul(one.sub(s))
	case engine.FuncSiLU:
		g := s.logistic()
		return g.add(s.mul(g.mul(one.sub(g))))
	case engine.FuncTanh:
		return one.sub(s.mul(s))
	case engine.FuncGELU:
		density := exact(1 / math.Sqrt(2*math.Pi)).mul(exact(-0.5).mul(s.mul(s)).exp())
		return normal(s).add(s.mul(density))
	case engine.FuncGELUTanh:
		t := geluInner(s).tanh()
		inner := exact(math.Sqrt(2 / math.Pi)).mul(one.add(exact(3 * 0.044715).mul(s.mul(s))))
		first := exact(0.5).mul(one.add(t))
		return first.add(exact(0.5).mul(s).mul(one.sub(t.mul(t))).mul(inner))
	case engine.FuncMish:
		t := s.softplus().tanh()
		return t.add(s.mul(s.logistic()).mul(one.sub(t.mul(t))))
	case engine.FuncSoftplus:
		u := exact(float64(f.A)).mul(s)
		if u.v > float64(f.B) {
			return one
		}
		return u.logistic()
	case engine.FuncLog:
		return one.div(s)
	case engine.FuncErf:
		return exact(2 / math.Sqrt(math.Pi)).mul(exact(-1).mul(s.mul(s)).exp())
	case engine.FuncPow:
		if f.A == 0 {
			return exact(0)
		}
		return exact(float64(f.A)).mul(s.pow(float64(f.A) - 1))
	}
	panic("ref: activation " + f.String() + " has no slope")
}

// times is dy·d, exactly so where the slope d is exactly 0 or 1.
func (d num) times(dy float64) num {
	switch d {
	case exact(0):
		return d
	case exact(1):
		return exact(dy)
	}
	return d.mul(exact(dy))
}

// stored is x with the infinity that float32 has for what is beyond it.
func (x num) stored() num {
	if math.Abs(x.v) > math.MaxFloat32 {
		x.v = math.Copysign(math.Inf(1), x.v)
	}
	return x
}

func activation(op engine.Activation, in, out []Array) {
	for i, x := range in[0].V {
		out[0].set(i, act(op.F, exact(x)).stored())
	}
}

func activationBackward(op engine.ActivationBackward, in, out []Array) {
	from, dy := in[0], in[1]
	for i, v := range from.V {
		out[0].set(i, slope(op.F, exact(v)).times(dy.V[i]).stored())
	}
}
