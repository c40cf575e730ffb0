package study

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/engine/yamldoc"
)

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

// values returns a metric of what the seeds have made of a step's model.
func (r series) values(step, metric string) []float64 {
	return r.final(step).values(func(o *outcome) float64 {
		switch metric {
		case metricBytes:
			return float64(o.Bytes)
		case metricParams:
			return float64(o.Params)
		}
		return o.top1()
	})
}

// checks compares what was stated with what came out: of several seeds, the
// means. How many seeds bear the statement out by themselves is said.
func (r series) checks() []report.Check {
	var out []report.Check
	for _, c := range r[0].r.Checks {
		m := c.metric()
		got := r.values(c.Step, m)
		words, b := "at least ", c.AtLeast
		if b == nil {
			words, b = "at most ", c.AtMost
		}
		bounds, how := r.bound(b, m)
		mean, bound := metrics.Spread(got).Mean, metrics.Spread(bounds).Mean
		check := report.Check{Name: c.Name, Want: words + figure(m, bound) + how, Got: figure(m, mean), Pass: c.holds(mean, bound)}
		if n := max(len(got), len(bounds)); n > 1 {
			held := 0
			for k := range n { // a model that the seeds share stands for each
				if c.holds(got[min(k, len(got)-1)], bounds[min(k, len(bounds)-1)]) {
					held++
				}
			}
			check.Got += fmt.Sprintf(" on average; %d of %d seeds bear it out", held, n)
		}
		out = append(out, check)
	}
	return out
}

// holds reports whether a figure keeps to the bound.
func (c Check) holds(got, bound float64) bool {
	if c.AtMost != nil {
		return got <= bound+tolerance
	}
	return got >= bound-tolerance
}

// tolerance is for roundings: no accuracy differs by so little.
const tolerance = 1e-12

// bound returns a bound's figure for each seed, or the one that all share, and
// how it comes about.
func (r series) bound(b *Bound, metric string) (x []float64, how string) {
	if b.Value != nil {
		return []float64{*b.Value}, ""
	}
	of := r.values(b.Of, metric)
	text := fmt.Sprintf("%s of %s", figure(metric, metrics.Spread(of).Mean), b.Of)
	share := or(1, b.Share)
	if share != 1 {
		text = fmt.Sprintf("%.4g %% of the %s", 100*share, text)
	} else {
		text = "the " + text
	}
	if b.Points != 0 {
		text = fmt.Sprintf("%.4g points %s %s", math.Abs(b.Points), map[bool]string{true: "above", false: "below"}[b.Points > 0], text)
	}
	for _, v := range of {
		x = append(x, share*v+b.Points/100)
	}
	return x, " (" + text + ")"
}

// figure writes a metric's value.
func figure(metric string, x float64) string {
	if metric == metricAccuracy {
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	return metrics.Thousands(int64(math.Round(x))) + " " + metric
}
