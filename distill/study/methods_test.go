package study

import (
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
)

// TestLossOfRecipes: kd is the loss of a distill step, before what the defaults say
// of plain kd, and the other way round.
func TestLossOfRecipes(t *testing.T) {
	plan := func(defaults, settings string) (*unit, error) {
		r, err := Parse("a.yaml", []byte("study: a\ndata: {source: builtin:fashion, size: 28}\ndefaults: {"+defaults+"}\n"+
			"steps:\n  t: {kind: train, arch: cnn-plain}\n  a: {kind: distill, arch: cnn-dwpw, teacher: t, "+settings+"}\n"))
		if err != nil {
			return nil, err
		}
		units, err := r.plan()
		if err != nil {
			return nil, err
		}
		u := units[len(units)-1]
		if o := units[0].train.Config.Optimizer; units[0].train.KD != nil || o.DOT != nil {
			t.Errorf("a net without a teacher is trained with %+v", o)
		}
		return u, u.train.validate(r.Data)
	}
	for _, c := range []struct {
		defaults, settings string
		want               distill.Settings
	}{
		{"temperature: 4", "alpha: 0.25", distill.Settings{T: 4, Alpha: 0.25}},
		{"temperature: 4, alpha: 1", "kd: 'dkd:T=4, beta=2 + at'", distill.Settings{Spec: "dkd:beta=2,T=4+at"}},
		{"kd: dist", "epochs: 2", distill.Settings{Spec: "dist"}},
		{"kd: dist", "temperature: 2", distill.Settings{T: 2, Alpha: 0.5}},
		{"kd: dist", "kd: sp, teacher_precision: float32", distill.Settings{Spec: "sp", Precision: "float32"}},
	} {
		u, err := plan(c.defaults, c.settings)
		if err != nil {
			t.Error(err)
			continue
		}
		if *u.train.KD != c.want {
			t.Errorf("%s over %s is %+v", c.settings, c.defaults, *u.train.KD)
		}
	}
	u, err := plan("optimizer: sgd, momentum: 0.9, dot: 0.05", "kd: dkd")
	if err != nil || u.train.Config.Optimizer.DOT == nil || *u.train.Config.Optimizer.DOT != 0.05 {
		t.Errorf("dot is not of the optimizer (%v)", err)
	}
	for settings, want := range map[string]string{
		"kd: dkd, alpha: 0.5": "leave out temperature and alpha",
		"kd: hinton":          "there is no method",
		"kd: dkd, dot: 0.05":  "belong to sgd",
		"kd: 'at:stages='":    "stages has no value",
		"kd: 'kd:T=4+kd:T=5'": "there twice",
	} {
		if _, err := plan("", settings); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", settings, want, err)
		}
	}
}
