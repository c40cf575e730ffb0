package study

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/metrics"
)

// results puts together what the units have come to. It depends on their
// outcomes alone: a study that was done before gives the same.
func (r series) results() *report.Results {
	s := r[0]
	res := &report.Results{
		Study: s.r.Study, Title: s.r.Title, PublishedData: s.r.PublishedData, Seed: s.r.Seed, Recipe: s.r.text,
		Device: s.b.Name(), Threads: threads(s.b), Version: s.o.Version, Command: s.o.Command,
		Data: report.Data{Name: s.ds.Name, Fingerprint: s.ds.Fingerprint, Classes: s.ds.Classes,
			Train: s.ds.Train.Len(), Val: s.ds.Val.Len(), Size: s.r.Data.Size, Width: s.r.Data.Width},
		Checks: r.checks(),
	}
	if hasTest(s.ds) {
		res.Data.Test = s.ds.Test.Len()
	}
	counted := make(map[string]bool) // a step that seeds share is done once
	for k, run := range r {
		res.Seeds = append(res.Seeds, run.r.Seed)
		for i, u := range run.units {
			if k+i == 0 || u.out.Started.Before(res.Started) {
				res.Started = u.out.Started
			}
			if !counted[u.key] {
				counted[u.key] = true
				res.Seconds += u.out.Seconds
			}
		}
	}
	for _, step := range s.r.Steps {
		r.addStep(res, step)
	}
	res.Differences = differences(res)
	return res
}

// addStep adds what the report shows of a step.
func (r series) addStep(res *report.Results, step *Step) {
	units := r.of(step)
	if step.Kind == kindEvaluate {
		for _, v := range units {
			r[0].addEvaluation(res, v[0].unit)
		}
		return
	}
	v := units[len(units)-1]
	for _, w := range step.Rows {
		res.Rows = append(res.Rows, r.row(v, w))
	}
	first := v[0].out
	switch {
	case step.Rounds != nil:
		c := report.Curve{Rate: step.Rate, Published: step.Curve}
		base := r.final(step.From[0])
		for _, v := range append([]variants{base}, units...) {
			c.Points = append(c.Points, point(v))
		}
		res.Curves = append(res.Curves, c)
	case len(first.Epochs) > 0:
		res.Training = append(res.Training, report.History{Step: step.name, Epochs: first.Epochs})
	}
}

// point is what the seeds have made of a round.
func point(v variants) report.Point {
	p := report.Point{
		Params: v.whole(func(o *outcome) int64 { return o.Params }), Bytes: v.whole(func(o *outcome) int64 { return o.Bytes }),
		Round: v[0].round, Widths: v[0].widths(),
	}
	p.ValAccuracy, p.ValSpread = v.spread(func(o *outcome) float64 { return o.Accuracy })
	if v[0].out.Test != nil {
		mean, spread := v.spread(func(o *outcome) float64 { return o.Test.Top1 })
		p.TestAccuracy, p.TestSpread = &mean, spread
	}
	return p
}

// whole returns the mean of a whole figure.
func (v variants) whole(figure func(o *outcome) int64) int64 {
	return int64(math.Round(metrics.Spread(v.values(func(o *outcome) float64 { return float64(figure(o)) })).Mean))
}

// spread returns the mean of a figure and, of several seeds, its spread.
func (v variants) spread(figure func(o *outcome) float64) (mean float64, s *metrics.Summary) {
	all := metrics.Spread(v.values(figure))
	if len(v) > 1 {
		s = &all
	}
	return all.Mean, s
}

// row is a line of a table for what the seeds have made of a unit.
func (r series) row(v variants, w Row) report.Row {
	u, o := v[0], v[0].out
	row := report.Row{
		Table: w.Table, Step: u.step.name, Name: w.Name, Method: w.Method, Notes: w.Notes, MACs: o.MACs,
		Params: v.whole(func(o *outcome) int64 { return o.Params }), Bytes: v.whole(func(o *outcome) int64 { return o.Bytes }),
	}
	for _, x := range v {
		row.Runs = append(row.Runs, r[0].run(x))
	}
	if !o.Unmeasured {
		r.addFigures(&row, v)
	}
	r.addCost(&row, v)
	if row.Name == "" {
		row.Name = u.step.name
	}
	if row.Method == "" {
		row.Method = u.made()
	}
	switch {
	case u.from != nil:
		row.Parent = u.from.step.name
	case len(u.teachers) > 0:
		row.Parent = strings.Join(u.step.Teacher, ", ")
	}
	if p := w.Published; p != nil {
		row.Published = &report.Published{Bytes: int64(p.Bytes), ValAccuracy: p.Accuracy, Notes: p.Notes}
	}
	return row
}

// run is what one seed has made of a row.
func (s *session) run(v variant) report.Run {
	o := v.out
	run := report.Run{Seed: v.seed, Params: o.Params, Bytes: o.Bytes}
	if !o.Unmeasured {
		run.ValAccuracy = &o.Accuracy
		if o.Test != nil {
			run.TestAccuracy = &o.Test.Top1
		}
	}
	relative := func(name string) string {
		path, err := filepath.Rel(s.o.Dir, filepath.Join(v.dir, name))
		if err != nil {
			return ""
		}
		return filepath.ToSlash(path)
	}
	if o.File != "" {
		run.File = relative(o.File)
	}
	if len(o.Epochs) > 0 {
		run.Metrics = relative(fit.CSVFile)
		if _, err := os.Stat(filepath.Join(v.dir, fit.CSVFile)); err != nil { // a version without it made the run
			run.Metrics = relative(fit.MetricsFile)
		}
	}
	return run
}

// addFigures adds how well the models classify.
func (r series) addFigures(row *report.Row, v variants) {
	gather := func(of func(o *outcome) *metrics.Figures) *metrics.Figures {
		var all []metrics.Figures
		for _, x := range v {
			if f := of(x.out); f != nil {
				all = append(all, *f)
			}
		}
		if len(all) < len(v) {
			return nil
		}
		m := metrics.Mean(all)
		m.Confusion = nil
		return &m
	}
	row.Validation = gather(func(o *outcome) *metrics.Figures { return o.Val })
	row.Test = gather(func(o *outcome) *metrics.Figures { return o.Test })
	accuracy, spread := v.spread(func(o *outcome) float64 { return o.Accuracy })
	loss, _ := v.spread(func(o *outcome) float64 { return o.Loss })
	row.ValAccuracy, row.ValSpread, row.ValLoss = &accuracy, spread, &loss
	if row.Test != nil {
		accuracy, spread := v.spread(func(o *outcome) float64 { return o.Test.Top1 })
		row.TestAccuracy, row.TestSpread, row.TestLoss = &accuracy, spread, &row.Test.Loss
	}
}

// addCost adds what an evaluate step has measured of the models' speed: the
// medians of the seeds.
func (r series) addCost(row *report.Row, v variants) {
	var speed, median, p10, p90 []float64
	for _, x := range v {
		for _, s := range r {
			e := s.evaluationOf(x.unit)
			if e == nil {
				continue
			}
			speed = append(speed, e.ImagesPerSecond)
			if l := e.Latency; l != nil {
				row.Latency, row.MemoryBytes = new(*l), e.Memory
				median, p10, p90 = append(median, l.Median), append(p10, l.P10), append(p90, l.P90)
			}
			break
		}
	}
	if len(speed) > 0 {
		row.ImagesPerSecond = metrics.Percentile(speed, 0.5)
	}
	if row.Latency != nil {
		row.Latency.Median = metrics.Percentile(median, 0.5)
		row.Latency.P10, row.Latency.P90 = slices.Min(p10), slices.Max(p90)
	}
}

// evaluationOf returns what an evaluate step has measured of u, nil if none has.
func (s *session) evaluationOf(u *unit) *outcome {
	for _, e := range s.units {
		if e.step.Kind == kindEvaluate && e.from.key == u.key && e.out.ImagesPerSecond > 0 {
			return e.out
		}
	}
	return nil
}

// differences returns, for each table, those of its rows to its first, on the
// part of the data that the tables report. Only rows of as many seeds pair.
func differences(res *report.Results) (out []report.Difference) {
	first := make(map[string]*report.Row)
	part := "test"
	if res.Data.Test == 0 {
		part = "validation"
	}
	for i := range res.Rows {
		w := &res.Rows[i]
		base := first[w.Table]
		if base == nil {
			first[w.Table] = w
			continue
		}
		a, b := accuracies(w, part), accuracies(base, part)
		if len(a) < 2 || len(a) != len(b) {
			continue
		}
		d := report.Difference{Table: w.Table, Step: w.Step, Name: w.Name, Less: base.Step, LessOf: base.Name, Part: part}
		for k := range a {
			d.Values = append(d.Values, a[k]-b[k])
		}
		d.Summary = metrics.Spread(d.Values)
		d.Interval, _ = d.Summary.Interval()
		out = append(out, d)
	}
	return out
}

// accuracies returns those of a row's runs, none where one is missing.
func accuracies(w *report.Row, part string) (out []float64) {
	for _, r := range w.Runs {
		a := r.ValAccuracy
		if part == "test" {
			a = r.TestAccuracy
		}
		if a == nil {
			return nil
		}
		out = append(out, *a)
	}
	return out
}

// made says how a unit's model was made.
func (u *unit) made() string {
	switch s := u.step; s.Kind {
	case kindDistill:
		return "distilled" + u.shape()
	case kindPrune:
		return fmt.Sprintf("γ slimming to %.3g of the widths, %s", u.mult, u.train.Config.Optimizer.Kind)
	case kindImport:
		return "imported"
	}
	switch m := u.method.(type) {
	case *quant.Options:
		return m.Scheme
	case *shrink.Method:
		return "searched under " + strings.Join(m.Under, ", ")
	}
	if u.method != nil {
		return u.step.Kind
	}
	if u.from != nil {
		return "trained further"
	}
	return "from scratch" + u.shape()
}

// shape names the width of a net that is not its family's own.
func (u *unit) shape() string {
	if n := u.step.Base; n != 0 {
		return fmt.Sprintf(", %d channels at first", n)
	}
	return ""
}

// addEvaluation adds the confusion matrix and the mistakes that u was to show.
// Mistakes are of validation images: whoever looks at them to do better next
// time leaves the test images what they are.
func (s *session) addEvaluation(res *report.Results, u *unit) {
	name := u.from.step.name
	if u.step.Confusion {
		c := report.Confusion{Step: name, Part: "validation", Matrix: u.out.Confusion}
		if t := u.out.Test; t != nil && t.Confusion != nil {
			c.Part, c.Matrix = "test", t.Confusion
		}
		res.Confusions = append(res.Confusions, c)
	}
	for _, m := range u.out.Mistakes[:min(u.step.Mistakes, len(u.out.Mistakes))] {
		img := s.ds.Val.Image(m.Index)
		res.Mistakes = append(res.Mistakes, report.Mistake{
			Step: name, File: s.ds.Val.File(m.Index), True: s.ds.Classes[m.Label], Predicted: s.ds.Classes[m.Predicted],
			Prob: m.Prob, H: img.H, W: img.W, Pix: slices.Clone(img.Pix),
		})
	}
}
