package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine/metrics"
)

// part names the pictures whose accuracy tables and charts are about.
func (r *Results) part() string {
	if r.tested() {
		return "test"
	}
	return "validation"
}

// tested reports whether there are figures of test pictures.
func (r *Results) tested() bool {
	return slices.ContainsFunc(r.Rows, func(w Row) bool { return w.TestAccuracy != nil })
}

// accuracy is a row's on the pictures of part, nil where it was not measured.
func (r *Results) accuracy(w Row) *float64 {
	if r.tested() {
		return w.TestAccuracy
	}
	return w.ValAccuracy
}

// spread is how a row's accuracy on the pictures of part is spread over the
// seeds, nil where there is one.
func (r *Results) spread(w Row) *metrics.Summary {
	if r.tested() {
		return w.TestSpread
	}
	return w.ValSpread
}

// figures are a row's on the pictures of part.
func (r *Results) figures(w Row) *metrics.Figures {
	if r.tested() {
		return w.Test
	}
	return w.Validation
}

// pointAccuracy is a point's on the pictures of part, and its spread.
func (r *Results) pointAccuracy(p Point) (float64, *metrics.Summary) {
	if r.tested() && p.TestAccuracy != nil {
		return *p.TestAccuracy, p.TestSpread
	}
	return p.ValAccuracy, p.ValSpread
}

// seeds are those that the study was run with.
func (r *Results) seeds() []uint64 {
	if len(r.Seeds) > 0 {
		return r.Seeds
	}
	return []uint64{r.Seed}
}

// several reports whether there is more than one.
func (r *Results) several() bool { return len(r.Seeds) > 1 }

// withSpread writes a share, over several seeds with its standard deviation.
func withSpread(x *float64, s *metrics.Summary) string {
	if x == nil || s == nil {
		return percentOf(x)
	}
	return fmt.Sprintf("%s ± %.2f %%", strings.TrimSuffix(percent(*x), " %"), 100*s.SD)
}

// interval writes one, in %.
func interval(i metrics.Interval) string {
	return fmt.Sprintf("%.1f to %.1f %%", 100*i.Low, 100*i.High)
}

// seedsNote says in words how many seeds stand behind the figures, and what
// that leaves open.
func (r *Results) seedsNote() string {
	seeds := r.seeds()
	if len(seeds) == 1 {
		return fmt.Sprintf("All figures are of one seed, %d: how far another seed would move them was not measured.", seeds[0])
	}
	var names []string
	for _, s := range seeds {
		names = append(names, fmt.Sprint(s))
	}
	return fmt.Sprintf("Figures are means over %d seeds (%s); ± is the sample standard deviation over them.", len(seeds), strings.Join(names, ", "))
}

// AccuracyNote says what the accuracies of the tables are.
func (r *Results) AccuracyNote() string {
	var s []string
	if r.tested() {
		s = append(s, fmt.Sprintf("Accuracies are those on %s test pictures, which nothing was chosen by; the best epoch of each training was chosen on %s validation pictures.",
			commas(int64(r.Data.Test)), commas(int64(r.Data.Val))))
	} else if len(r.Rows) > 0 && r.Data.Val > 0 {
		s = append(s, fmt.Sprintf("There are no test pictures: accuracies are those on the %s validation pictures on which the best epoch of each training was chosen, and so are a little too high.",
			commas(int64(r.Data.Val))))
	}
	s = append(s, r.seedsNote())
	if slices.ContainsFunc(r.Rows, func(w Row) bool { return r.figures(w) != nil }) {
		s = append(s, "The 95 % interval (Wilson's) is what so many pictures leave open; it does not cover other seeds.")
	}
	return strings.Join(s, " ")
}
