package metrics

import (
	"math"
	"slices"
)

// A Summary is what several values come to: those of runs that differ in their
// seed alone, or the differences of two such rows, run by run.
type Summary struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	// SD is the sample standard deviation, √(Σ(x-mean)²/(n-1)); 0 for one value.
	SD  float64 `json:"sd"`
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Spread sums values up. Of none it returns the zero value.
func Spread(x []float64) Summary {
	if len(x) == 0 {
		return Summary{}
	}
	s := Summary{N: len(x), Min: slices.Min(x), Max: slices.Max(x)}
	if s.Min == s.Max {
		s.Mean = s.Min // to the bit, whatever the division would round
		return s
	}
	for _, v := range x {
		s.Mean += v / float64(len(x))
	}
	for _, v := range x {
		s.SD += (v - s.Mean) * (v - s.Mean)
	}
	s.SD = math.Sqrt(s.SD / float64(len(x)-1))
	return s
}

// Interval returns the 95 % confidence interval of the mean of the values that
// further runs would give, by Student's t: mean ± t·sd/√n. It supposes that the
// values are spread normally. Of fewer than two values there is none.
func (s Summary) Interval() (i Interval, ok bool) {
	if s.N < 2 {
		return i, false
	}
	half := t975(s.N-1) * s.SD / math.Sqrt(float64(s.N))
	return Interval{s.Mean - half, s.Mean + half}, true
}

// students are the 0.975 quantiles of Student's t for 1, 2, … 30 degrees of
// freedom.
var students = []float64{
	12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
	2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
	2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
}

// t975 returns that quantile, beyond the table by the expansion of Cornish and
// Fisher around the normal one.
func t975(df int) float64 {
	if df <= len(students) {
		return students[df-1]
	}
	z, v := z95, float64(df)
	z3, z5, z7 := math.Pow(z, 3), math.Pow(z, 5), math.Pow(z, 7)
	return z + (z3+z)/(4*v) + (5*z5+16*z3+3*z)/(96*v*v) + (3*z7+19*z5+17*z3-15*z)/(384*v*v*v)
}
