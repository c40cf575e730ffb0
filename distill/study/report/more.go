package report

import (
	"fmt"
	"slices"
	"strings"
)

// distinct returns the rows, each model once: one that stands in two tables has
// the same figures in both.
func (r *Results) distinct() []Row {
	var out []Row
	seen := make(map[string]bool)
	for _, w := range r.Rows {
		if key := textOr(w.Step, w.Name); !seen[key] {
			seen[key] = true
			out = append(out, w)
		}
	}
	return out
}

// moreTables are those behind the tables of the models: further metrics, what
// the models cost, differences, published figures. Those that have nothing to
// say are left out.
func (r *Results) moreTables() []Table {
	var out []Table
	for _, t := range []Table{r.DifferencesTable(), r.metricsTable(), r.costTable(), r.publishedTable()} {
		if len(t.Rows) > 0 && len(t.Columns) > 1 {
			out = append(out, t)
		}
	}
	return out
}

// metricsTable has what is known of the classification beside the accuracy.
func (r *Results) metricsTable() Table {
	var rows []Row
	for _, w := range r.distinct() {
		if r.figures(w) != nil {
			rows = append(rows, w)
		}
	}
	name := field{Column{"", "Model", false}, true, func(w Row) string { return textOr(w.Name, w.Step) }}
	t := newTable("Further metrics, "+r.part()+" pictures", rows, []field{
		name,
		{Column{"", "Top-5", true}, false, func(w Row) string { return percentOf(r.figures(w).Top5) }},
		{Column{"", "Macro F1", true}, true, func(w Row) string { return percent(r.figures(w).MacroF1) }},
		{Column{"", "Calibration error", true}, true, func(w Row) string { return percent(r.figures(w).ECE) }},
		{Column{"", "Loss", true}, true, func(w Row) string { return fmt.Sprintf("%.4f", r.figures(w).Loss) }},
		{Column{"", "Worst class", false}, true, func(w Row) string { return r.worst(w) }},
	})
	t.Notes = nil
	t.Caption = "Calibration error: the expected one in 15 bins (Guo et al.): how far the probabilities are from the shares of pictures that are right. " +
		"Worst class: the lowest recall."
	return t
}

// worst names the class of the lowest recall.
func (r *Results) worst(w Row) string {
	class, recall := -1, 2.0
	for i, c := range r.figures(w).Classes {
		if c.Recall != nil && *c.Recall < recall {
			class, recall = i, *c.Recall
		}
	}
	if class < 0 {
		return dash
	}
	return r.className(class) + ", " + percent(recall)
}

// costTable has what the models take.
func (r *Results) costTable() Table {
	t := newTable("What they cost", r.distinct(), []field{
		{Column{"", "Model", false}, true, func(w Row) string { return textOr(w.Name, w.Step) }},
		{Column{"", "MACs", true}, false, func(w Row) string { return count(w.MACs) }},
		{Column{"", "Latency, one picture", true}, false, func(w Row) string {
			if w.Latency == nil {
				return dash
			}
			return milliseconds(w.Latency.Median)
		}},
		{Column{"", "10 to 90 %", true}, false, func(w Row) string {
			if w.Latency == nil {
				return dash
			}
			return strings.TrimSuffix(milliseconds(w.Latency.P10), " ms") + " to " + milliseconds(w.Latency.P90)
		}},
		{Column{"", "Images/s", true}, false, func(w Row) string { return rate(w.ImagesPerSecond) }},
		{Column{"", "Memory", true}, false, func(w Row) string {
			if w.MemoryBytes == 0 {
				return dash
			}
			return size(w.MemoryBytes)
		}},
	})
	t.Notes = nil
	t.Caption = r.costNote()
	return t
}

// costNote says how costs were measured.
func (r *Results) costNote() string {
	var s []string
	if slices.ContainsFunc(r.Rows, func(w Row) bool { return w.MACs > 0 }) {
		s = append(s, "MACs: multiply-adds for one picture, as torchinfo counts them.")
	}
	var l *Latency // the one of the fewest runs
	for _, w := range r.Rows {
		if w.Latency != nil && (l == nil || w.Latency.Runs < l.Runs) {
			l = w.Latency
		}
	}
	if l != nil {
		s = append(s, fmt.Sprintf("Latency: a prepared picture in memory to its logits%s, one run after the other, the median of at least %d after %d to warm up%s; beside it the range without the fastest and the slowest tenth.",
			r.onDevice(), l.Runs, l.Warm, r.overSeeds()))
	}
	if slices.ContainsFunc(r.Rows, func(w Row) bool { return w.ImagesPerSecond > 0 }) {
		s = append(s, "Images a second: the validation pictures classified in batches, their preparation included, the median of the passes.")
	}
	if slices.ContainsFunc(r.Rows, func(w Row) bool { return w.MemoryBytes > 0 }) {
		s = append(s, "Memory: what the planner gives inference on one picture, weights included.")
	}
	return strings.Join(s, " ")
}

func (r *Results) overSeeds() string {
	if r.several() {
		return " (of several seeds, the median of their medians and the widest range)"
	}
	return ""
}

// DifferencesTable has what several seeds tell of the rows' differences.
func (r *Results) DifferencesTable() Table {
	t := Table{
		Title: "Differences, seed by seed",
		Columns: []Column{{Name: "Model"}, {Name: "Less"}, {Name: "Mean", Right: true}, {Name: "± sd", Right: true},
			{Name: "Each seed", Right: true}, {Name: "95 % interval", Right: true}},
		Caption: fmt.Sprintf("Points of %s accuracy by which a model lies above (+) or below (−) the first of its table; both runs of a seed meet the same pictures. "+
			"The interval is that of the mean, by Student's t: where it holds 0, the seeds do not tell the two apart.", r.part()),
	}
	for _, d := range r.Differences {
		var each []string
		for _, v := range d.Values {
			each = append(each, points(v))
		}
		t.Rows = append(t.Rows, []string{clean(d.Name), clean(d.LessOf), points(d.Mean), fmt.Sprintf("%.2f", 100*d.SD),
			strings.Join(each, ", "), points(d.Interval.Low) + " to " + points(d.Interval.High)})
	}
	return t
}

// points writes a difference of shares in hundredths, with its sign.
func points(x float64) string {
	return strings.Replace(fmt.Sprintf("%+.2f", 100*x+0), "-", "−", 1)
}

// publishedTable has the published figures where they were measured on other
// data than those of this study, and so have no place beside its own.
func (r *Results) publishedTable() Table {
	if r.samePublished() {
		return Table{}
	}
	var rows []Row
	for _, w := range r.Rows {
		if w.Published == nil || slices.ContainsFunc(rows, func(o Row) bool { return o.Step == w.Step && *o.Published == *w.Published }) {
			continue
		}
		w.Notes = w.Published.Notes
		rows = append(rows, w)
	}
	title := "Published counterparts"
	if r.PublishedData != "" {
		title += ", measured on " + clean(r.PublishedData)
	}
	t := newTable(title, rows, append([]field{{Column{"", "Model", false}, true, func(w Row) string { return textOr(w.Name, w.Step) }}}, publishedFields("")...))
	t.Caption = r.publishedNote()
	return t
}

// milliseconds writes seconds as such, with three digits.
func milliseconds(s float64) string {
	switch ms := 1000 * s; {
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f ms", ms)
	default:
		return fmt.Sprintf("%.3f ms", ms)
	}
}
