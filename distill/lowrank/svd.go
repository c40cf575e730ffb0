package lowrank

import "math"

// A decomposition is a matrix M of R×C by its singular values and the singular
// vectors of its shorter side. They are found from the products of rows, in
// float64: what is below 1e-8 of the largest singular value is lost, which is less
// than a float32 weight is rounded by.
type decomposition struct {
	m       matrix
	sigma   []float64 // the largest first
	vectors matrix    // as rows
	noise   int       // the rank that evbmf finds, counted from 1; 0: not asked yet
	flipped bool      // they are those of the columns' side
}

// decompose is the singular value decomposition of m.
func decompose(m matrix) (*decomposition, error) {
	d := &decomposition{m: m, flipped: m.rows > m.cols}
	side := m
	if d.flipped {
		side = m.transposed()
	}
	values, vectors, err := symmetric(side.gram())
	if err != nil {
		return nil, err
	}
	d.vectors, d.sigma = vectors, make([]float64, len(values))
	for i, v := range values {
		d.sigma[i] = math.Sqrt(max(v, 0))
	}
	return d, nil
}

// factors returns B [R,r] and A [r,C] with B·A the best approximation of rank r
// (Eckart and Young, 1936), each with the roots of the singular values.
func (d *decomposition) factors(r int) (b, a matrix) {
	u := matrix{r, d.vectors.cols, d.vectors.at[:r*d.vectors.cols]}
	if d.flipped { // M ≈ (M·V)·Vᵀ
		b, a = d.m.times(u.transposed()), matrix{r, u.cols, append([]float64(nil), u.at...)}
		for k, s := range d.sigma[:r] {
			root := rootOf(s)
			for i := range b.rows {
				b.at[i*r+k] /= root
			}
			for j := range a.row(k) {
				a.row(k)[j] *= root
			}
		}
		return b, a
	}
	b, a = u.transposed(), u.times(d.m) // M ≈ U·(Uᵀ·M)
	for k, s := range d.sigma[:r] {
		root := rootOf(s)
		for i := range b.rows {
			b.at[i*r+k] *= root
		}
		for j := range a.row(k) {
			a.row(k)[j] /= root
		}
	}
	return b, a
}

// rootOf is √s, 1 where the direction holds nothing.
func rootOf(s float64) float64 {
	if s < 1e-12 {
		return 1
	}
	return math.Sqrt(s)
}

// tail returns the share of the squared singular values beyond the first r.
func tail(sigma []float64, r int) float64 {
	all, rest := 0.0, 0.0
	for i, s := range sigma {
		all += s * s
		if i >= r {
			rest += s * s
		}
	}
	if all == 0 {
		return 0
	}
	return rest / all
}

// byEnergy returns the smallest rank that keeps a share of the squared singular
// values.
func byEnergy(sigma []float64, share float64) int {
	all, kept := 0.0, 0.0
	for _, s := range sigma {
		all += s * s
	}
	for r, s := range sigma {
		if kept += s * s; all-kept <= (1-share)*all {
			return r + 1
		}
	}
	return len(sigma)
}

// left returns r orthonormal directions of the rows' side, as rows [r,R], which
// hold the most. Where the columns are the shorter side and r is more than they
// are, the rest are any that are orthonormal to these.
func (d *decomposition) left(r int) (matrix, error) {
	if !d.flipped {
		return matrix{r, d.vectors.cols, d.vectors.at[:r*d.vectors.cols]}, nil
	}
	_, vectors, err := symmetric(d.m.gram())
	if err != nil {
		return matrix{}, err
	}
	return matrix{r, vectors.cols, vectors.at[:r*vectors.cols]}, nil
}
