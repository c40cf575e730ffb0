package study

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/yamldoc"
)

// results puts together what the units have come to. It depends on their
// outcomes alone: a study that was done before gives the same.
func (s *session) results() *report.Results {
	r := s.r
	res := &report.Results{
		Study: r.Study, Title: r.Title, PublishedData: r.PublishedData, Seed: r.Seed, Recipe: r.text,
		Device: s.b.Name(), Threads: threads(s.b), Version: s.o.Version, Command: s.o.Command,
		Data: report.Data{Name: s.ds.Name, Fingerprint: s.ds.Fingerprint, Classes: s.ds.Classes,
			Train: s.ds.Train.Len(), Val: s.ds.Val.Len(), Size: r.Data.Size},
		Checks: s.checks(),
	}
	for i, u := range s.units {
		res.Seconds += u.out.Seconds
		if i == 0 || u.out.Started.Before(res.Started) {
			res.Started = u.out.Started
		}
	}
	for _, step := range r.Steps {
		s.addStep(res, step)
	}
	s.explainThroughput(res)
	return res
}

// of returns the units of a step.
func (s *session) of(step *Step) []*unit {
	var out []*unit
	for _, u := range s.units {
		if u.step == step {
			out = append(out, u)
		}
	}
	return out
}

// final returns the unit whose model a step's name stands for.
func (s *session) final(name string) *unit {
	units := s.of(s.r.step(name))
	return units[len(units)-1]
}

// addStep adds what the report shows of a step.
func (s *session) addStep(res *report.Results, step *Step) {
	units := s.of(step)
	if step.Kind == kindEvaluate {
		for _, u := range units {
			s.addEvaluation(res, u)
		}
		return
	}
	u := units[len(units)-1]
	for _, w := range step.Rows {
		res.Rows = append(res.Rows, s.row(u, w))
	}
	switch {
	case step.Rounds != nil:
		c := report.Curve{Rate: step.Rate, Published: step.Curve, Points: []report.Point{point(units[0].base)}}
		for _, u := range units {
			c.Points = append(c.Points, point(u))
		}
		res.Curves = append(res.Curves, c)
	case len(u.out.Epochs) > 0:
		res.Training = append(res.Training, report.History{Step: step.name, Epochs: u.out.Epochs})
	}
}

func point(u *unit) report.Point {
	return report.Point{Params: u.out.Params, Bytes: u.out.Bytes, ValAccuracy: u.out.Accuracy, Round: u.round, Widths: u.widths()}
}

// row is a line of a table for the model of u.
func (s *session) row(u *unit, w Row) report.Row {
	row := report.Row{
		Table: w.Table, Step: u.step.name, Name: w.Name, Method: w.Method, Notes: w.Notes, Params: u.out.Params,
		Bytes: u.out.Bytes, ValAccuracy: &u.out.Accuracy, ValLoss: &u.out.Loss, ImagesPerSecond: s.speed(u),
	}
	if u.out.Unmeasured {
		row.ValAccuracy, row.ValLoss = nil, nil
	}
	if row.Name == "" {
		row.Name = u.step.name
	}
	if row.Method == "" {
		row.Method = u.made()
	}
	switch {
	case u.from != nil:
		row.Parent = u.from.step.name
	case u.teacher != nil:
		row.Parent = u.teacher.step.name
	}
	if p := w.Published; p != nil {
		row.Published = &report.Published{Bytes: int64(p.Bytes), ValAccuracy: p.Accuracy}
	}
	return row
}

// made says how a unit's model was made.
func (u *unit) made() string {
	switch s := u.step; s.Kind {
	case kindDistill:
		return "distilled"
	case kindPrune:
		return fmt.Sprintf("γ slimming to %.3g of the widths, %s", u.mult, u.train.Config.Optimizer.Kind)
	case kindImport:
		return "imported"
	}
	if q, ok := u.method.(*quant.Options); ok {
		return q.Scheme
	}
	if u.method != nil {
		return u.step.Kind
	}
	if u.from != nil {
		return "trained further"
	}
	return "from scratch"
}

// speed returns the images a second that an evaluate step has measured of u.
func (s *session) speed(u *unit) float64 {
	for _, e := range s.units {
		if e.step.Kind == kindEvaluate && e.from == u && e.out.ImagesPerSecond > 0 {
			return e.out.ImagesPerSecond
		}
	}
	return 0
}

// explainThroughput says in the notes of the first row that has one what images
// a second are.
func (s *session) explainThroughput(res *report.Results) {
	i := slices.IndexFunc(res.Rows, func(w report.Row) bool { return w.ImagesPerSecond > 0 })
	if i < 0 {
		return
	}
	passes := 1
	for _, u := range s.units {
		if u.step.Kind == kindEvaluate {
			passes = s.passes(u)
		}
	}
	w := &res.Rows[i]
	if w.Notes != "" {
		w.Notes += " "
	}
	w.Notes += fmt.Sprintf("Images a second, here and below: the validation pictures classified in batches, their preparation included; the median of %d passes.", passes)
}

// addEvaluation adds the confusion matrix and the mistakes that u was to show.
func (s *session) addEvaluation(res *report.Results, u *unit) {
	name := u.from.step.name
	if u.step.Confusion {
		res.Confusions = append(res.Confusions, report.Confusion{Step: name, Matrix: u.out.Confusion})
	}
	for _, m := range u.out.Mistakes[:min(u.step.Mistakes, len(u.out.Mistakes))] {
		img := s.ds.Val.Image(m.Index)
		res.Mistakes = append(res.Mistakes, report.Mistake{
			Step: name, File: s.ds.Val.File(m.Index), True: s.ds.Classes[m.Label], Predicted: s.ds.Classes[m.Predicted],
			Prob: m.Prob, H: img.H, W: img.W, Pix: slices.Clone(img.Pix),
		})
	}
}

// The metrics of checks.
const (
	metricAccuracy = "accuracy"
	metricBytes    = "bytes"
	metricParams   = "params"
)

// validateChecks reports what is wrong with the recipe's checks.
func (r *Recipe) validateChecks() error {
	for i, c := range r.Checks {
		at := fmt.Sprintf("checks[%d]", i)
		if c.Name == "" {
			return r.errAt(at, "a check needs a name: what it states")
		}
		if m := c.metric(); m != metricAccuracy && m != metricBytes && m != metricParams {
			return r.errAt(at+".metric", "unknown metric %q; there are %s, %s, %s", m, metricAccuracy, metricBytes, metricParams)
		}
		if err := r.validateCheckStep(at+".step", c.Step); err != nil {
			return err
		}
		if (c.AtLeast == nil) == (c.AtMost == nil) {
			return r.errAt(at, "check %q needs at_least or at_most, and only one of them", c.Name)
		}
		for key, b := range map[string]*Bound{"at_least": c.AtLeast, "at_most": c.AtMost} {
			if b == nil {
				continue
			}
			if (b.Of == "") == (b.Value == nil) {
				return r.errAt(yamldoc.Join(at, key), "check %q needs of:, a step to compare with, or value:, a number; and only one of them", c.Name)
			}
			if b.Of != "" {
				if err := r.validateCheckStep(yamldoc.Join(yamldoc.Join(at, key), "of"), b.Of); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *Recipe) validateCheckStep(at, name string) error {
	switch s := r.step(name); {
	case s == nil:
		return r.errAt(at, "there is no step %q; the steps are %s", name, r.names())
	case s.Kind == kindEvaluate:
		return r.errAt(at, "%q measures models and makes none; name the step that makes the model", name)
	}
	return nil
}

func (c Check) metric() string {
	if c.Metric == "" {
		return metricAccuracy
	}
	return c.Metric
}

// value returns a metric of the model that a step's name stands for.
func (s *session) value(step, metric string) float64 {
	switch o := s.final(step).out; metric {
	case metricBytes:
		return float64(o.Bytes)
	case metricParams:
		return float64(o.Params)
	default:
		return o.Accuracy
	}
}

// checks compares what was stated with what came out.
func (s *session) checks() []report.Check {
	var out []report.Check
	for _, c := range s.r.Checks {
		m := c.metric()
		got := s.value(c.Step, m)
		words, b := "at least ", c.AtLeast
		if b == nil {
			words, b = "at most ", c.AtMost
		}
		bound, how := s.bound(b, m)
		pass := got >= bound-tolerance
		if c.AtMost != nil {
			pass = got <= bound+tolerance
		}
		out = append(out, report.Check{Name: c.Name, Want: words + figure(m, bound) + how, Got: figure(m, got), Pass: pass})
	}
	return out
}

// tolerance is for roundings: no accuracy differs by so little.
const tolerance = 1e-12

// bound returns a bound's figure, and how it comes about.
func (s *session) bound(b *Bound, metric string) (x float64, how string) {
	if b.Value != nil {
		return *b.Value, ""
	}
	x = s.value(b.Of, metric)
	of := fmt.Sprintf("%s of %s", figure(metric, x), b.Of)
	share := or(1, b.Share)
	if share != 1 {
		of = fmt.Sprintf("%.4g %% of the %s", 100*share, of)
	} else {
		of = "the " + of
	}
	x *= share
	if b.Points != 0 {
		of = fmt.Sprintf("%.4g points %s %s", math.Abs(b.Points), map[bool]string{true: "above", false: "below"}[b.Points > 0], of)
		x += b.Points / 100
	}
	return x, " (" + of + ")"
}

// figure writes a metric's value.
func figure(metric string, x float64) string {
	if metric == metricAccuracy {
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	return fmt.Sprintf("%.0f %s", x, metric)
}
