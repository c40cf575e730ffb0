package observe

import "math"

// maxBins bounds a histogram. One that would grow beyond it, because a batch's
// values are hundreds of times those before, gets wider bins.
const maxBins = 1 << 20

// A histogram counts values in bins of equal width over [-top, top]. A batch with
// larger values widens it by as many bins on both sides as they need; what was
// counted stays where it is. All is computed in float32, in the order of NumPy's
// histogram, so that a value falls into the same bin.
type histogram struct {
	bins   int // at first
	counts []int64
	edges  []float32 // one more
	top    float32
	lo, hi float32 // of all values
}

// add counts the values of a batch.
func (h *histogram) add(values []float32) error {
	lo, hi, err := ends(values)
	if err != nil {
		return err
	}
	top := max(lo, -lo, hi, -hi)
	if h.counts == nil {
		h.edges = linspace(-top, top, h.bins)
		h.counts, h.top, h.lo, h.hi = count(values, h.edges), top, lo, hi
		return nil
	}
	h.lo, h.hi = min(h.lo, lo), max(h.hi, hi)
	switch {
	case top <= h.top:
		h.sum(count(values, linspace(-h.top, h.top, len(h.counts))), 0)
	case h.top == 0:
		h.top, h.edges = top, linspace(-top, top, len(h.counts))
		h.sum(count(values, h.edges), 0)
	default:
		h.widen(values, top)
	}
	return nil
}

// sum adds new counts, of which grown more lie on either side.
func (h *histogram) sum(fresh []int64, grown int) {
	for i, n := range h.counts {
		fresh[i+grown] += n
	}
	h.counts = fresh
}

// widen counts values of which the largest, top, lies outside.
func (h *histogram) widen(values []float32, top float32) {
	stride := float32(2*h.top) / float32(len(h.counts))
	if float64(top-h.top)/float64(stride) > maxBins/2 {
		h.rebin(top)
		h.sum(count(values, h.edges), 0)
		return
	}
	grown := int(floorDivide(top-h.top, stride) + 1)
	h.top = float32(float32(grown)*stride) + h.top
	n := len(h.counts) + 2*grown
	h.edges = linspace(-h.top, h.top, n)
	h.sum(count(values, h.edges), grown)
}

// rebin puts what was counted into as many bins as there were at first, over
// [-top, top]: each bin as a whole, by its middle.
func (h *histogram) rebin(top float32) {
	edges := linspace(-top, top, h.bins)
	counts := make([]int64, h.bins)
	for i, n := range h.counts {
		counts[place(h.edges[i]/2+h.edges[i+1]/2, edges)] += n
	}
	h.counts, h.edges, h.top = counts, edges, top
}

// linspace returns the edges of n bins of equal width from lo to hi; where both
// are equal, from half less to half more.
func linspace(lo, hi float32, n int) []float32 {
	if lo == hi {
		lo, hi = lo-0.5, hi+0.5
	}
	edges := make([]float32, n+1)
	delta := hi - lo
	step := delta / float32(n)
	for i := range edges {
		if step == 0 {
			edges[i] = float32(float32(i)/float32(n)*delta) + lo
		} else {
			edges[i] = float32(float32(i)*step) + lo
		}
	}
	edges[n] = hi
	return edges
}

// count returns how many values lie in each bin; a value at an edge belongs to the
// bin above it, but the last edge to the last bin. Others are left out.
func count(values, edges []float32) []int64 {
	n := len(edges) - 1
	out := make([]int64, n)
	lo, hi := edges[0], edges[n]
	for _, v := range values {
		if v >= lo && v <= hi {
			out[place(v, edges)]++
		}
	}
	return out
}

// place returns the bin of a value within the edges.
func place(v float32, edges []float32) int {
	n := len(edges) - 1
	width := edges[n] - edges[0]
	i := int(float32(float32((v-edges[0])/width) * float32(n)))
	i = max(0, min(i, n-1))
	// The quotient may be off by a rounding.
	if v < edges[i] && i > 0 {
		i--
	}
	if v >= edges[i+1] && i != n-1 {
		i++
	}
	return i
}

// floorDivide is NumPy's float32 a//b for positive numbers.
func floorDivide(a, b float32) float32 {
	mod := float32(math.Mod(float64(a), float64(b)))
	div := (a - mod) / b
	floor := float32(math.Floor(float64(div)))
	if div-floor > 0.5 {
		floor++
	}
	return floor
}
