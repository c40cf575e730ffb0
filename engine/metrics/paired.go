package metrics

import "math"

// A Paired compares two classifiers on the same images.
type Paired struct {
	Images int `json:"images"`
	Lost   int `json:"lost"` // that the first has right and the other wrong
	Won    int `json:"won"`  // that the other has right and the first wrong
	// Difference is the other's accuracy less the first's, (Won-Lost)/Images, and
	// Interval its 95 % confidence interval, by the normal approximation with the
	// variance of a paired difference: (Won+Lost-(Won-Lost)²/n)/n².
	Difference float64  `json:"difference"`
	Interval   Interval `json:"interval"`
	// P is McNemar's exact two-sided probability that Won and Lost differ by as much
	// or more where both classifiers are equally good: twice the tail of a binomial
	// distribution with a half (Q. McNemar, Psychometrika 12, 1947).
	P float64 `json:"p"`
}

// Pair compares what two classifiers get right, image by image. Slices of different
// lengths are a programmer's error.
func Pair(first, other []bool) Paired {
	if len(first) != len(other) {
		panic("metrics: two classifiers on different images")
	}
	p := Paired{Images: len(first), P: 1}
	for i, r := range other {
		switch {
		case r && !first[i]:
			p.Won++
		case !r && first[i]:
			p.Lost++
		}
	}
	if p.Images == 0 {
		return p
	}
	n, d := float64(p.Images), float64(p.Won-p.Lost)
	half := z95 * math.Sqrt(float64(p.Won+p.Lost)-d*d/n) / n
	p.Difference = d / n
	p.Interval = Interval{p.Difference - half, p.Difference + half}
	p.P = min(1, 2*lowerTail(min(p.Won, p.Lost), p.Won+p.Lost))
	return p
}

// lowerTail returns the probability of k or fewer heads in n throws of a coin.
func lowerTail(k, n int) float64 {
	sum := 0.0
	all, _ := math.Lgamma(float64(n + 1))
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - a - b - float64(n)*math.Ln2)
	}
	return min(sum, 1)
}
