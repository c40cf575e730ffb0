package study

import (
	"strings"
	"testing"
)

// A zero that a recipe writes is taken as written, or refused.
func TestZeroInRecipe(t *testing.T) {
	plan := func(settings string) (*unit, error) {
		r, err := Parse("a.yaml", []byte("study: a\ndata: {source: builtin:fashion, size: 28}\nsteps:\n  t: {kind: train, arch: cnn-plain}\n  a: {"+settings+"}\n"))
		if err != nil {
			return nil, err
		}
		units, err := r.plan()
		if err != nil {
			return nil, err
		}
		u := units[len(units)-1]
		return u, u.train.validate(r.Data)
	}
	u, err := plan("kind: train, arch: cnn-plain, betas: [0, 0], eps: 0, schedule: {kind: step, gamma: 0}")
	if err != nil {
		t.Fatal(err)
	}
	if c := u.train.Config; *c.Optimizer.Betas != [2]float64{} || *c.Optimizer.Eps != 0 || *c.Schedule.Gamma != 0 {
		t.Errorf("%+v %+v", c.Optimizer, c.Schedule)
	}
	if u, err = plan("kind: distill, arch: cnn-plain, teacher: t, alpha: 0, temperature: 2"); err != nil || u.train.KD.Alpha != 0 {
		t.Error(err, u)
	}
	for settings, want := range map[string]string{
		"kind: train, arch: cnn-plain, schedule: {kind: step, step_size: 0}":          "step_size must be at least 1",
		"kind: train, arch: cnn-plain, schedule: {kind: onecycle, max_lr: 0}":         "max_lr must be positive",
		"kind: train, arch: cnn-plain, schedule: {kind: onecycle, div_factor: 0}":     "div_factor must be positive",
		"kind: distill, arch: cnn-plain, teacher: t, alpha: 0, temperature: 0":        "temperature must be positive",
		"kind: train, arch: cnn-plain, optimizer: sgd, momentum: 1":                   "momentum must be in [0, 1)",
		"kind: train, arch: cnn-plain, lr: 0.1, schedule: {kind: cosine, min_lr: 10}": "above it",
	} {
		if _, err := plan(settings); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
