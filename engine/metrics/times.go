package metrics

import (
	"math"
	"slices"
)

// Percentile returns the value below which a share p, in [0, 1], of the values
// lies: on the line between the two nearest ones, as numpy.percentile does by
// default. Of none it returns NaN.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Clone(values)
	slices.Sort(s)
	at := min(max(p, 0), 1) * float64(len(s)-1)
	i := int(at)
	if i+1 == len(s) {
		return s[i]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}
