package observe

// minMax is the range from the least to the greatest value. With moving, the ends
// are moving averages of those of the batches:
//
//	lo += c·(lo_batch - lo)    hi += c·(hi_batch - hi)
//
// in float32, beginning at those of the first.
type minMax struct {
	o      Options
	moving bool
	seen   bool
	lo, hi float32
}

// Add implements Observer.
func (m *minMax) Add(values []float32) error {
	lo, hi, err := ends(values)
	if err != nil {
		return err
	}
	if m.o.Symmetric {
		lo, hi = symmetric(lo, hi)
	}
	switch {
	case !m.seen:
		m.lo, m.hi = lo, hi
	case m.moving:
		m.lo += float32(m.o.Average * (lo - m.lo))
		m.hi += float32(m.o.Average * (hi - m.hi))
	default:
		m.lo, m.hi = min(m.lo, lo), max(m.hi, hi)
	}
	m.seen = true
	return nil
}

// Range implements Observer.
func (m *minMax) Range() (lo, hi float32, err error) {
	if !m.seen {
		return 0, 0, errNone
	}
	return m.lo, m.hi, nil
}
