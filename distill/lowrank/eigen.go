package lowrank

import (
	"errors"
	"slices"

	"gonum.org/v1/gonum/mat"
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
// the eigenvectors as rows in the same order.
func symmetric(a matrix) (values []float64, vectors matrix, err error) {
	n := a.rows
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(n, slices.Clone(a.at)), true) {
		return nil, matrix{}, errors.New("the eigenvalues of a layer's weights are not found")
	}
	values = e.Values(nil) // the smallest first
	slices.Reverse(values)
	var columns mat.Dense
	e.VectorsTo(&columns)
	vectors = newMatrix(n, n)
	for k := range n {
		mat.Col(vectors.row(k), n-1-k, &columns)
	}
	return values, vectors, nil
}
