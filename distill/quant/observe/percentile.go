package observe

import (
	"math"
	"sort"
)

// percentile is the range that leaves (100 - p)/2 percent of the values out on
// either side: the edges of the bins of a histogram over [-top, top] in which the
// shares lie, within the values' own range.
type percentile struct {
	o Options
	h histogram
}

// Add implements Observer.
func (p *percentile) Add(values []float32) error { return p.h.add(values) }

// Range implements Observer.
func (p *percentile) Range() (lo, hi float32, err error) {
	if p.h.counts == nil {
		return 0, 0, errNone
	}
	sums := cumulated(p.h.counts)
	cut := (100 - p.o.Percentile) / 200
	lo, hi = p.h.edges[sort.SearchFloat64s(sums, cut)], p.h.edges[sort.SearchFloat64s(sums, 1-cut)]
	return max(lo, p.h.lo), min(hi, p.h.hi), nil
}

// cumulated returns, for every bin, the share of the values that lies in it and in
// those below.
func cumulated(counts []int64) []float64 {
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	out := make([]float64, len(counts))
	sum := 0.0
	for i, n := range counts {
		sum += float64(n) / float64(total)
		out[i] = sum
	}
	return out
}

// magnitudes is the symmetric percentile: the range [-a, a] outside which 100 - p
// percent of the values lie, from a histogram of their magnitudes. Its bins span
// the magnitudes of the first batch, and larger ones append bins. As in ONNX
// Runtime, an end that the values themselves do not reach is moved to the least or
// the greatest of them.
type magnitudes struct {
	o      Options
	counts []int64
	edges  []float32
	lo, hi float32 // of the values
}

// Add implements Observer.
func (m *magnitudes) Add(values []float32) error {
	lo, hi, err := ends(values)
	if err != nil {
		return err
	}
	sizes := make([]float32, len(values))
	for i, v := range values {
		sizes[i] = max(v, -v)
	}
	least, most, _ := ends(sizes)
	if m.counts == nil {
		m.edges = linspace(least, most, m.o.Bins)
		m.counts, m.lo, m.hi = count(sizes, m.edges), lo, hi
		return nil
	}
	m.lo, m.hi = min(m.lo, lo), max(m.hi, hi)
	if most > m.edges[len(m.edges)-1] {
		m.append(most)
	}
	fresh := between(sizes, m.edges)
	for i, n := range m.counts {
		fresh[i] += n
	}
	m.counts = fresh
	return nil
}

// append adds bins up to the one that holds most, in the steps of NumPy's arange.
func (m *magnitudes) append(most float32) {
	wide := m.edges[1] - m.edges[0]
	start, stop := m.edges[len(m.edges)-1]+wide, most+wide
	n := math.Ceil(float64(float32(stop-start) / wide))
	if n < 1 {
		return
	}
	if n > maxBins || math.IsNaN(n) { // what lies so far beyond goes into one bin
		m.edges = append(m.edges, most)
		return
	}
	step := (start + wide) - start
	m.edges = append(m.edges, start)
	for i := 1; i < int(n); i++ {
		m.edges = append(m.edges, start+float32(float32(i)*step))
	}
}

// between counts sizes in bins of any width, like count.
func between(values, edges []float32) []int64 {
	out := make([]int64, len(edges)-1)
	for _, v := range values {
		// The number of edges that are at most v.
		i := sort.Search(len(edges), func(i int) bool { return edges[i] > v }) - 1
		if i == len(out) && v == edges[i] {
			i--
		}
		if i >= 0 && i < len(out) {
			out[i]++
		}
	}
	return out
}

// Range implements Observer.
func (m *magnitudes) Range() (lo, hi float32, err error) {
	if m.counts == nil {
		return 0, 0, errNone
	}
	a := m.edges[sort.SearchFloat64s(cumulated(m.counts), m.o.Percentile/100)]
	return max(-a, m.lo), min(a, m.hi), nil
}
