package prune

import (
	"fmt"
	"slices"
	"strings"
)

// A face is what a tensor's axis is to the channels that lie along it.
type face uint8

const (
	out       face = iota // the rows of a layer that makes the channels
	in                    // the columns of a layer that reads them
	depthwise             // the rows of a depthwise convolution, which does both
	scale                 // the scale of a normalization or of a ScaleShift
)

// need says what a criterion asks of data.
type need uint8

const (
	nothing     need = iota
	gradients        // of the loss, by the weights
	curvature        // the mean square of each sample's gradient
	activations      // the mean size of what each layer reads
)

// A Criterion is a way to tell how much a channel matters. The importance of a
// channel is put together from its members, the parts of tensors that would go
// with it: rows of the layers that make it, columns of those that read it, scales
// of the normalizations between them.
type Criterion struct {
	Name string
	// Doc is the importance of a member, in a few words.
	Doc string

	need      need
	normalize string // the normalization that goes with it
	// counts says whether a member of a face counts, of BatchNorm2d or another norm.
	counts func(f face, batchNorm bool) bool
	// each is what an element w contributes to its row or column, with its gradient
	// or curvature g; nil where the criterion is no sum over elements.
	each func(w, g float64) float64
}

func everything(face, bool) bool { return true }

// weights leaves out scales.
func weights(f face, _ bool) bool { return f != scale }

// criteria is the table, in the order in which it is printed.
var criteria = []Criterion{
	{Name: "l1", Doc: "Σ|w|", normalize: "mean", counts: everything, each: func(w, _ float64) float64 { return abs(w) }},
	{Name: "l2", Doc: "Σw²", normalize: "mean", counts: everything, each: func(w, _ float64) float64 { return w * w }},
	{Name: "bn-scale", Doc: "|γ| of batch norms", normalize: "mean",
		counts: func(f face, batchNorm bool) bool { return f == scale && batchNorm },
		each:   func(w, _ float64) float64 { return abs(w) }},
	{Name: "fpgm", Doc: "Σ of the distances to the other rows or columns", normalize: "mean", counts: weights},
	{Name: "lamp", Doc: "Σw², over the sum of all that are not smaller", normalize: "lamp", counts: everything, each: func(w, _ float64) float64 { return w * w }},
	{Name: "taylor", Doc: "Σ|w·dL/dw|", need: gradients, normalize: "mean", counts: everything, each: func(w, g float64) float64 { return abs(w * g) }},
	{Name: "hessian", Doc: "Σw²·E[(dL/dw)²]", need: curvature, normalize: "mean", counts: everything, each: func(w, h float64) float64 { return w * w * h }},
	{Name: "activation", Doc: "E|x| of what its readers read", need: activations, normalize: "mean",
		counts: func(f face, _ bool) bool { return f == in || f == depthwise }},
	{Name: "random", Doc: "a draw", normalize: "none", counts: everything},
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// Criteria returns the names of the criteria.
func Criteria() []string {
	names := make([]string, len(criteria))
	for i, c := range criteria {
		names[i] = c.Name
	}
	return names
}

// DescribeCriteria returns the names and what each is, for people.
func DescribeCriteria() [][2]string {
	rows := make([][2]string, len(criteria))
	for i, c := range criteria {
		rows[i] = [2]string{c.Name, c.Doc}
	}
	return rows
}

func criterionOf(name string) (Criterion, error) {
	if i := slices.IndexFunc(criteria, func(c Criterion) bool { return c.Name == name }); i >= 0 {
		return criteria[i], nil
	}
	return Criterion{}, fmt.Errorf("there is no criterion %q; choose one of %s", name, strings.Join(Criteria(), ", "))
}

// oneOf reports a word that is none of those that a setting takes.
func oneOf(what, word string, words ...string) error {
	if slices.Contains(words, word) {
		return nil
	}
	return fmt.Errorf("there is no %s %q; choose one of %s", what, word, strings.Join(words, ", "))
}
