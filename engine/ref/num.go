package ref

import "math"

// A num is a value v with e, the first-order error that float32 arithmetic may
// have brought into it, in units of ε. Formulas longer than one sum are written
// in nums, so that the error bound is derived from the formula itself. A sum
// counts the magnitude of its terms, not of its result: so the bound also holds
// for rearrangements such as x·s - μ·s for (x - μ)·s.
type num struct{ v, e float64 }

// exact is a number that is given: an input, or a constant.
func exact(v float64) num { return num{v, 0} }

func (a num) add(b num) num {
	return num{a.v + b.v, a.e + b.e + math.Abs(a.v) + math.Abs(b.v)}
}

func (a num) sub(b num) num { return a.add(num{-b.v, b.e}) }

func (a num) mul(b num) num {
	v := a.v * b.v
	return num{v, math.Abs(a.v)*b.e + math.Abs(b.v)*a.e + math.Abs(v)}
}

func (a num) div(b num) num {
	v := a.v / b.v
	return num{v, (a.e+math.Abs(v)*b.e)/math.Abs(b.v) + math.Abs(v)}
}

func (a num) sqrt() num {
	v := math.Sqrt(a.v)
	if v == 0 {
		return num{v, 0}
	}
	return num{v, a.e/(2*v) + v}
}

// exp allows for an argument reduction that rounds the argument once more.
func (a num) exp() num {
	v := math.Exp(a.v)
	return num{v, v * (a.e + math.Abs(a.v) + 2)}
}

func (a num) log() num {
	v := math.Log(a.v)
	return num{v, a.e/a.v + math.Abs(v) + 1}
}

// A sum adds terms one by one. Its error is that of the terms and their
// magnitude, to be multiplied by the square root of their number.
type sum struct{ num }

func (s *sum) add(t num) {
	s.v += t.v
	s.e += t.e + math.Abs(t.v)
}

// dot adds the product of two exact numbers: v += a·b, e += |a·b|.
func (s *sum) dot(a, b float64) {
	s.v += a * b
	s.e += math.Abs(a * b)
}

// expm1 is e^a - 1, exact to a few roundings near zero too.
func (a num) expm1() num {
	v, e := math.Expm1(a.v), 0.0
	if slope := math.Exp(a.v); slope > 0 {
		e = slope * (a.e + math.Abs(a.v))
	}
	return num{v, e + 2*math.Abs(v)}
}

// logistic is 1/(1+e^-a).
func (a num) logistic() num {
	v := 1 / (1 + math.Exp(-a.v))
	return num{v, v * ((1-v)*(a.e+math.Abs(a.v)+2) + 2)}
}

// tanh allows for one more rounding of the argument.
func (a num) tanh() num {
	v := math.Tanh(a.v)
	return num{v, (1-v*v)*(a.e+math.Abs(a.v)) + 3*math.Abs(v)}
}

// erf allows for one more rounding of the argument.
func (a num) erf() num {
	v := math.Erf(a.v)
	return num{v, 2/math.Sqrt(math.Pi)*math.Exp(-a.v*a.v)*(a.e+math.Abs(a.v)) + 3*math.Abs(v)}
}

// softplus is log(1+e^a).
func (a num) softplus() num {
	v := math.Max(a.v, 0) + math.Log1p(math.Exp(-math.Abs(a.v)))
	return num{v, (a.e+math.Abs(a.v)+2)/(1+math.Exp(-a.v)) + 3*math.Abs(v)}
}

// pow is a^p, by the formula e^(p·log a) or by products.
func (a num) pow(p float64) num {
	v := math.Pow(a.v, p)
	if p == 0 || p == 1 {
		return num{v, p * a.e}
	}
	l := math.Abs(math.Log(math.Abs(a.v)))
	return num{v, math.Abs(v) * (math.Abs(p)*(a.e/math.Abs(a.v)+2*l+1) + 2)}
}
