package train

import "math"

// A Confusion matrix counts images: rows are the classes they belong to,
// columns the classes they were taken for.
type Confusion [][]int

// NewConfusion returns an empty matrix for so many classes.
func NewConfusion(classes int) Confusion {
	cells := make([]int, classes*classes)
	m := make(Confusion, classes)
	for i := range m {
		m[i] = cells[i*classes : (i+1)*classes : (i+1)*classes]
	}
	return m
}

// Accuracy is the share of all images on the diagonal; NaN for an empty matrix.
func (m Confusion) Accuracy() float64 {
	right, all := 0, 0
	for i, row := range m {
		right += row[i]
		for _, n := range row {
			all += n
		}
	}
	return ratio(right, all)
}

// Recall is the share of class k's images that were taken for k; NaN if it has none.
func (m Confusion) Recall(k int) float64 {
	all := 0
	for _, n := range m[k] {
		all += n
	}
	return ratio(m[k][k], all)
}

// Precision is the share of the images taken for k that belong to it; NaN if
// there are none.
func (m Confusion) Precision(k int) float64 {
	all := 0
	for _, row := range m {
		all += row[k]
	}
	return ratio(m[k][k], all)
}

func ratio(n, of int) float64 {
	if of == 0 {
		return math.NaN()
	}
	return float64(n) / float64(of)
}

// correct counts the rows whose largest logit is the label's.
func correct(logits []float32, labels []int32, classes int) int {
	n := 0
	for i, label := range labels {
		if argmax(logits[i*classes:(i+1)*classes]) == int(label) {
			n++
		}
	}
	return n
}

// argmax returns the place of the first largest element.
func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
