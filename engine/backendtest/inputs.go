package backendtest

import (
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
)

// randn is an input of normal numbers.
func randn(shape ...int) input { return scaled(1, 0, shape...) }

// scaled is an input of normal numbers times scale plus shift.
func scaled(scale, shift float64, shape ...int) input {
	return input{engine.F32(shape...), func(rng *rand.Rand, _ int) float64 { return scale*rng.NormFloat64() + shift }}
}

// positive is an input of numbers between 0.1 and 2.1, as a variance has.
func positive(shape ...int) input {
	return input{engine.F32(shape...), func(rng *rand.Rand, _ int) float64 { return 0.1 + 2*rng.Float64() }}
}

// grid is an input of normal numbers rounded to multiples of step: many are equal.
func grid(step float64, shape ...int) input {
	return input{engine.F32(shape...), func(rng *rand.Rand, _ int) float64 { return step * math.Round(rng.NormFloat64()/step) }}
}

// gammas is a vector of scales of both signs, one zero among them.
func gammas(scale float64, c int) input {
	return input{engine.F32(c), func(rng *rand.Rand, i int) float64 {
		if i%7 == 5 {
			return 0
		}
		return scale * (0.3 + rng.Float64()) * float64(1-i%3/2*2)
	}}
}

// scalar is an input of one given number.
func scalar(v float64) input { return given(engine.F32(), v) }

// given is an input of given numbers.
func given(s engine.Spec, v ...float64) input {
	return input{s, func(_ *rand.Rand, i int) float64 { return v[i] }}
}

// with replaces elements of an input by the given ones, at even distances.
func (s input) with(v ...float64) input {
	old, every := s.at, max(s.Len()/len(v), 1)
	s.at = func(rng *rand.Rand, i int) float64 {
		x := old(rng, i)
		if i%every == 0 && i/every < len(v) {
			return v[i/every]
		}
		return x
	}
	return s
}
