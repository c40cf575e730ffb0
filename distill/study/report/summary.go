package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// title heads the report.
func (r *Results) title() string {
	return textOr(r.Title, textOr(r.Study, "Compression study"))
}

// nameOf is what the tables call the model that a step made.
func (r *Results) nameOf(step string) string {
	for _, w := range r.Rows {
		if w.Step == step && w.Name != "" {
			return clean(w.Name)
		}
	}
	return clean(step)
}

// summary tells the outcome in a few sentences.
func (r *Results) summary() string {
	var s []string
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	d := r.Data
	if d.Name != "" {
		test := ""
		if d.Test > 0 {
			test = fmt.Sprintf(", %s to test on", commas(int64(d.Test)))
		}
		add("On %s (%s; %s pictures to train on, %s to validate on%s%s) this study made %s%s.",
			clean(d.Name), plural(len(d.Classes), "class", "classes"), commas(int64(d.Train)), commas(int64(d.Val)), test,
			r.atSize(), plural(r.models(), "model", "models"), r.timesSeeds())
	}
	if first, best := r.compression(); first != nil {
		add("“%s” holds %s bytes and reaches %s of the %s pictures.", clean(first.Name), commas(first.Bytes),
			withSpread(r.accuracy(*first), r.spread(*first)), r.part())
		if best != nil {
			add("Of the smaller files beside it, “%s” keeps the most: %s in %s bytes, %.1f times fewer.", clean(best.Name),
				withSpread(r.accuracy(*best), r.spread(*best)), commas(best.Bytes), float64(first.Bytes)/float64(best.Bytes))
		}
	}
	if n, passed := len(r.Checks), r.passed(); n > 0 && passed == n {
		add("%s.", map[bool]string{true: "The one check passes", false: fmt.Sprintf("All %d checks pass", n)}[n == 1])
	} else if n > 0 {
		add("%d of %s pass.", passed, plural(n, "check", "checks"))
	}
	if r.Seconds > 0 {
		add("The whole run took %s%s.", seconds(r.Seconds), r.onDevice())
	}
	return strings.Join(s, " ")
}

// models counts the models of the tables. One that stands in two tables is one.
func (r *Results) models() int {
	seen := make(map[string]bool)
	for _, w := range r.Rows {
		seen[textOr(w.Step, w.Name)] = true
	}
	return len(seen)
}

// compression returns the first measured model of the first table and, of the
// smaller ones in that table, the most accurate; nil where there is none.
func (r *Results) compression() (first, best *Row) {
	for i := range r.Rows {
		w := &r.Rows[i]
		if w.Table != r.Rows[0].Table || w.Bytes == 0 || r.accuracy(*w) == nil || w.Name == "" {
			continue
		}
		switch {
		case first == nil:
			first = w
		case w.Bytes < first.Bytes && (best == nil || *r.accuracy(*w) > *r.accuracy(*best)):
			best = w
		}
	}
	return first, best
}

func (r *Results) timesSeeds() string {
	if r.several() {
		return fmt.Sprintf(", each with %d seeds", len(r.Seeds))
	}
	return ", with one seed"
}

func (r *Results) atSize() string {
	if r.Data.Size == 0 {
		return ""
	}
	return fmt.Sprintf(", %d\u00a0×\u00a0%d pixels each", r.Data.Size, cmp.Or(r.Data.Width, r.Data.Size))
}

func (r *Results) onDevice() string {
	if r.Device == "" {
		return ""
	}
	on := " on " + clean(r.Device)
	if r.Threads > 0 {
		on += " with " + plural(r.Threads, "thread", "threads")
	}
	return on
}

func (r *Results) passed() int {
	n := 0
	for _, c := range r.Checks {
		if c.Pass {
			n++
		}
	}
	return n
}

// publishedNote says what the published figures may be read for, or nothing
// where there are none.
func (r *Results) publishedNote() string {
	if !slices.ContainsFunc(r.Rows, func(w Row) bool { return w.Published != nil }) {
		return ""
	}
	var s []string
	switch {
	case r.samePublished():
		s = append(s, "The published figures were measured on the same data set, "+clean(r.PublishedData)+".")
	case r.PublishedData == "":
		s = append(s, "What data the published figures were measured on is not said: they cannot be compared with those of this study.")
	default:
		s = append(s, fmt.Sprintf("They were measured on %s, those of this study on %s: compare how the models "+
			"rank and what compression costs them, not the accuracies themselves.",
			clean(r.PublishedData), clean(textOr(r.Data.Name, "other data"))))
	}
	for _, c := range r.Curves {
		if n := sentence(c.Published); n != "" && !slices.Contains(s, n) {
			s = append(s, n)
		}
	}
	return strings.Join(s, " ")
}

// fact is a name and its value.
type fact struct{ Name, Value string }

// facts says how the study was made, without the command and the recipe.
func (r *Results) facts() []fact {
	var fs []fact
	add := func(name, value string) {
		if value = strings.TrimSpace(clean(value)); value != "" && value != dash {
			fs = append(fs, fact{name, value})
		}
	}
	add("Study", r.Study)
	add("Data", r.Data.Name)
	if r.Data.Train+r.Data.Val > 0 {
		test := ""
		if r.Data.Test > 0 {
			test = fmt.Sprintf(", %s test", commas(int64(r.Data.Test)))
		}
		add("Pictures", fmt.Sprintf("%s training, %s validation%s%s",
			commas(int64(r.Data.Train)), commas(int64(r.Data.Val)), test, r.atSize()))
	}
	add("Classes", strings.Join(r.Data.Classes, ", "))
	add("Fingerprint of the data", r.Data.Fingerprint)
	var seeds []string
	for _, seed := range r.seeds() {
		seeds = append(seeds, fmt.Sprint(seed))
	}
	add(map[bool]string{false: "Seed", true: "Seeds"}[r.several()], strings.Join(seeds, ", "))
	add("Device", r.Device)
	if r.Threads > 0 {
		add("Threads", commas(int64(r.Threads)))
	}
	if !r.Started.IsZero() {
		add("Started", r.Started.UTC().Format("2 January 2006, 15:04 "+time.UTC.String()))
	}
	add("Duration", seconds(r.Seconds))
	add("Version", r.Version)
	return fs
}

// trainingCaption sums a history up in one line.
func trainingCaption(h History) string {
	last := h.Epochs[len(h.Epochs)-1]
	s := plural(len(h.Epochs), "epoch", "epochs")
	if b := bestEpoch(h); b != nil {
		s += fmt.Sprintf(", best %s in epoch %d", percent(*b.ValAccuracy), b.Epoch)
	}
	if last.ImagesPerSecond > 0 {
		s += fmt.Sprintf(", %s images/s", rate(last.ImagesPerSecond))
	}
	return s
}
