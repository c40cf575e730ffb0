package observe

import "math"

// entropyLevels is the number of levels to which a window's bins are merged.
const entropyLevels = 128

// entropy is the range [-a, a], within that of the values, whose integers lose the
// least information (Migacz, "8-bit Inference with TensorRT", 2017): a window of a
// histogram's bins around 0, with what lies outside counted in its first and last
// bin, is the distribution p; q is the same merged to 128 levels and spread over
// the bins of p that are not empty. The window with the least Kullback-Leibler
// divergence Σ p·log(p/q) is taken, the smallest of equal ones.
//
// As in ONNX Runtime, q is rounded down to whole counts, and 0.0001 is moved from
// the other bins to each empty one of both p and q.
type entropy struct {
	o Options
	h histogram
}

// Add implements Observer.
func (e *entropy) Add(values []float32) error { return e.h.add(values) }

// Range implements Observer.
func (e *entropy) Range() (lo, hi float32, err error) {
	if e.h.counts == nil {
		return 0, 0, errNone
	}
	counts, edges := e.h.counts, e.h.edges
	n := len(counts)
	zero, best := n/2, math.Inf(1)
	lo, hi = edges[zero-entropyLevels/2], edges[min(zero+entropyLevels/2+1, n)]
	below := make([]int64, n+1) // counts below a bin
	for i, c := range counts {
		below[i+1] = below[i] + c
	}
	for i := entropyLevels / 2; i <= zero; i++ {
		start, end := zero-i, min(zero+i+1, n)
		if d := divergence(counts[start:end], below[start], below[n]-below[end]); d < best {
			best, lo, hi = d, edges[start], edges[end]
		}
	}
	lo, hi = max(lo, e.h.lo), min(hi, e.h.hi)
	if e.o.Symmetric {
		lo, hi = symmetric(lo, hi)
	}
	return lo, hi, nil
}

// divergence returns Σ p·log(p/q) of a window, with so many values to its left and
// to its right; it is infinite where p or q is empty.
func divergence(window []int64, left, right int64) float64 {
	n := len(window)
	p, q := make([]int64, n), make([]int64, n)
	copy(p, window)
	p[0] += left
	p[n-1] += right
	each := n / entropyLevels
	for level := range entropyLevels {
		start := level * each
		end := start + each
		sum, filled := int64(0), int64(0)
		for i := start; i < end; i++ {
			sum += window[i]
			if p[i] != 0 {
				filled++
			}
		}
		if level == entropyLevels-1 {
			for _, c := range window[end:] {
				sum += c
			}
		}
		if filled == 0 {
			continue
		}
		for i := start; i < end; i++ {
			q[i] = int64(float64(sum) / float64(filled))
		}
	}
	a, ok := smoothed(p)
	b, okToo := smoothed(q)
	if !ok || !okToo {
		return math.Inf(1)
	}
	terms := make([]float32, len(a))
	for i := range a {
		switch {
		case a[i] > 0 && b[i] > 0:
			terms[i] = a[i] * float32(math.Log(float64(a[i]/b[i])))
		case a[i] != 0 || b[i] < 0:
			return math.Inf(1)
		}
	}
	return float64(sum(terms))
}

// smoothed moves 0.0001 from the other bins to each empty one, and returns shares
// of the sum. It reports false where all are empty.
func smoothed(counts []int64) ([]float32, bool) {
	const eps = 0.0001
	empty := 0
	for _, c := range counts {
		if c == 0 {
			empty++
		}
	}
	if empty == len(counts) {
		return nil, false
	}
	less := float32(eps * float64(empty) / float64(len(counts)-empty))
	out := make([]float32, len(counts))
	for i, c := range counts {
		if out[i] = float32(c); c == 0 {
			out[i] += eps
		} else {
			out[i] -= less
		}
	}
	total := sum(out)
	for i := range out {
		out[i] /= total
	}
	return out, true
}

// sum adds numbers in pairs, in the order in which NumPy does.
func sum(x []float32) float32 {
	n := len(x)
	switch {
	case n < 8:
		s := float32(0)
		for _, v := range x {
			s += v
		}
		return s
	case n <= 128:
		r := [8]float32(x[:8])
		i := 8
		for ; i+8 <= n; i += 8 {
			for k := range r {
				r[k] += x[i+k]
			}
		}
		s := ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
		for ; i < n; i++ {
			s += x[i]
		}
		return s
	}
	half := n / 2
	half -= half % 8
	return sum(x[:half]) + sum(x[half:])
}
