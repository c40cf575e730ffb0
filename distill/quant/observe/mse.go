package observe

import "math"

// mse is the range whose integers have the least squared error over a histogram of
// the values, whose bins stand for their middles. The range of the values is
// narrowed in steps of a hundredth: first at both ends alike, then at either end
// alone, and the best of all is taken. A range without negative values stays one.
type mse struct {
	o Options
	h histogram
}

// Add implements Observer.
func (m *mse) Add(values []float32) error { return m.h.add(values) }

// Range implements Observer.
func (m *mse) Range() (lo, hi float32, err error) {
	if m.h.counts == nil {
		return 0, 0, errNone
	}
	lo, hi = min(m.h.lo, 0), max(m.h.hi, 0)
	if m.o.Symmetric {
		lo, hi = symmetric(lo, hi)
	}
	const steps = 100
	bestLo, bestHi, best := lo, hi, m.noise(lo, hi)
	try := func(a, b float32) {
		if e := m.noise(a, b); e < best {
			bestLo, bestHi, best = a, b, e
		}
	}
	for k := 1; k < steps; k++ {
		f := 1 - float32(k)/steps
		try(lo*f, hi*f)
	}
	if !m.o.Symmetric {
		b := bestHi
		for k := range steps {
			try(lo*(1-float32(k)/steps), b)
		}
		a := bestLo
		for k := range steps {
			try(a, hi*(1-float32(k)/steps))
		}
	}
	return bestLo, bestHi, nil
}

// noise returns the sum of the squared errors of the values' integers under a range.
func (m *mse) noise(lo, hi float32) float64 {
	qmax := float64(m.o.Levels - 1)
	s, z := (float64(hi)-float64(lo))/qmax, 0.0
	if s <= 0 {
		s = math.Inf(1)
	} else {
		z = math.RoundToEven(-float64(lo) / s)
	}
	sum := 0.0
	for i, n := range m.h.counts {
		if n == 0 {
			continue
		}
		x := (float64(m.h.edges[i]) + float64(m.h.edges[i+1])) / 2
		y := 0.0
		if !math.IsInf(s, 1) {
			q := math.Max(0, math.Min(qmax, math.RoundToEven(x/s)+z))
			y = (q - z) * s
		}
		sum += float64(n) * (x - y) * (x - y)
	}
	return sum
}
