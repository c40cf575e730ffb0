package lowrank

import (
	"errors"
	"math"
	"slices"
)

// A matrix is rows×cols, row by row.
type matrix struct {
	rows, cols int
	at         []float64
}

func newMatrix(rows, cols int) matrix {
	return matrix{rows, cols, make([]float64, rows*cols)}
}

func (m matrix) row(i int) []float64 { return m.at[i*m.cols : (i+1)*m.cols] }

// transposed returns mᵀ.
func (m matrix) transposed() matrix {
	t := newMatrix(m.cols, m.rows)
	for i := range m.rows {
		for j, v := range m.row(i) {
			t.at[j*m.rows+i] = v
		}
	}
	return t
}

// gram returns m·mᵀ.
func (m matrix) gram() matrix {
	g := newMatrix(m.rows, m.rows)
	for i := range m.rows {
		for j := range i + 1 {
			v := dot(m.row(i), m.row(j))
			g.at[i*m.rows+j], g.at[j*m.rows+i] = v, v
		}
	}
	return g
}

// times returns m·b.
func (m matrix) times(b matrix) matrix {
	out := newMatrix(m.rows, b.cols)
	for i := range m.rows {
		row := out.row(i)
		for k, v := range m.row(i) {
			if v == 0 {
				continue
			}
			for j, w := range b.row(k) {
				row[j] += v * w
			}
		}
	}
	return out
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// symmetric returns the eigenvalues of a symmetric matrix, the largest first, and
// the eigenvectors as rows in the same order: Householder's reduction to a
// tridiagonal matrix, then QL with implicit shifts (Golub and Van Loan, "Matrix
// Computations", sections 8.3.1 and 8.3.5).
func symmetric(a matrix) (values []float64, vectors matrix, err error) {
	n := a.rows
	q := matrix{n, n, slices.Clone(a.at)}
	d, e := make([]float64, n), make([]float64, n)
	tridiagonal(q, d, e)
	// The rotations act on the columns of q: as rows of its transpose they lie in
	// memory one behind the other.
	t := q.transposed()
	if err := implicitQL(d, e, t); err != nil {
		return nil, matrix{}, err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case d[i] > d[j]:
			return -1
		case d[i] < d[j]:
			return 1
		}
		return 0
	})
	values, vectors = make([]float64, n), newMatrix(n, n)
	for k, i := range order {
		values[k] = d[i]
		copy(vectors.row(k), t.row(i))
	}
	return values, vectors, nil
}

// tridiagonal replaces q, symmetric, by the orthogonal Q for which Qᵀ·q·Q is
// tridiagonal, with the diagonal d and, from e[1] on, the elements beside it.
func tridiagonal(q matrix, d, e []float64) {
	n := q.rows
	reflectors := make([][]float64, n)
	largest := 0.0
	for _, v := range q.at {
		largest = max(largest, math.Abs(v))
	}
	for k := range max(n-2, 0) {
		// v reflects the part of column k below the diagonal onto its first element.
		v := make([]float64, n)
		norm := 0.0
		for i := k + 1; i < n; i++ {
			v[i] = q.at[i*n+k]
			norm += v[i] * v[i]
		}
		norm = math.Sqrt(norm)
		if norm <= 1e-30*largest { // rounding has left nothing, or next to nothing
			for i := k + 1; i < n; i++ {
				q.at[i*n+k], q.at[k*n+i] = 0, 0
			}
			continue
		}
		if v[k+1] > 0 {
			norm = -norm
		}
		v[k+1] -= norm
		length := dot(v, v)
		scale := math.Sqrt(2 / length)
		for i := range v {
			v[i] *= scale
		}
		// With w = q·v - ½(v·q·v)·v the product from both sides is q - v·wᵀ - w·vᵀ.
		w := make([]float64, n)
		for i := k; i < n; i++ {
			w[i] = dot(q.row(i)[k:], v[k:])
		}
		half := dot(v, w) / 2
		for i := k; i < n; i++ {
			w[i] -= half * v[i]
		}
		for i := k; i < n; i++ {
			row := q.row(i)
			for j := k; j < n; j++ {
				row[j] -= v[i]*w[j] + w[i]*v[j]
			}
		}
		reflectors[k] = v
	}
	for i := range n {
		d[i] = q.at[i*n+i]
		if i > 0 {
			e[i] = q.at[i*n+i-1]
		}
	}
	// Q is the product of the reflections.
	for i := range q.at {
		q.at[i] = 0
	}
	for i := range n {
		q.at[i*n+i] = 1
	}
	for k := n - 1; k >= 0; k-- {
		v := reflectors[k]
		if v == nil {
			continue
		}
		sum := make([]float64, n) // vᵀ·q
		for i := k + 1; i < n; i++ {
			for j := k + 1; j < n; j++ {
				sum[j] += v[i] * q.at[i*n+j]
			}
		}
		for i := k + 1; i < n; i++ {
			row := q.row(i)
			for j := k + 1; j < n; j++ {
				row[j] -= v[i] * sum[j]
			}
		}
	}
}

// implicitQL makes the eigenvalues of d, and turns the rows of t along.
func implicitQL(d, e []float64, t matrix) error {
	n := len(d)
	copy(e, e[min(1, n):])
	if n > 0 {
		e[n-1] = 0
	}
	const most = 60
	scale := 0.0 // products are rounded by as much: what is less beside it is none
	for i := range d {
		scale = max(scale, math.Abs(d[i])+math.Abs(e[i]))
	}
	for l := range n {
		for round := 0; ; round++ {
			m := l
			for ; m < n-1; m++ {
				near := math.Abs(d[m]) + math.Abs(d[m+1])
				if math.Abs(e[m]) <= max(0x1p-52*near, 0x1p-54*scale) {
					break
				}
			}
			if m == l {
				break
			}
			if round == most {
				return errors.New("the eigenvalues of a weight's products do not converge")
			}
			g := (d[l+1] - d[l]) / (2 * e[l])
			r := math.Hypot(g, 1)
			g = d[m] - d[l] + e[l]/(g+math.Copysign(r, g))
			s, c, p := 1.0, 1.0, 0.0
			i := m - 1
			for ; i >= l; i-- {
				f, b := s*e[i], c*e[i]
				r = math.Hypot(f, g)
				e[i+1] = r
				if r == 0 {
					d[i+1] -= p
					e[m] = 0
					break
				}
				s, c = f/r, g/r
				g = d[i+1] - p
				r = (d[i]-g)*s + 2*c*b
				p = s * r
				d[i+1] = g + p
				g = c*r - b
				x, y := t.row(i), t.row(i+1)
				for k := range x {
					x[k], y[k] = c*x[k]-s*y[k], s*x[k]+c*y[k]
				}
			}
			if r == 0 && i >= l {
				continue
			}
			d[l] -= p
			e[l], e[m] = g, 0
		}
	}
	return nil
}
