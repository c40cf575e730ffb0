package study

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/layers/checkpoint"
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

// twoTeachers is a study of students under two teachers, and of one that takes over the
// classifier of its teacher.
const twoTeachers = `study: two
data: {source: builtin:fashion, size: 28, limit: {train: 60, val: 30, test: 20}}
defaults: {epochs: 1, batch: 20, augment: {flip: 0.5}}
steps:
  a: {kind: train, arch: cnn-plain, base: 4}
  b: {kind: train, arch: cnn-group, base: 4}
  both: {kind: distill, arch: cnn-dwpw, base: 4, teacher: [a, b], kd: "kd:T=2+dist", teacher_shares: confidence, rows: [{table: t}]}
  alike: {kind: distill, arch: cnn-dwpw, base: 4, teacher: [a, b], rows: [{table: t}]}
  reused: {kind: distill, arch: cnn-dwpw, base: 4, teacher: b, kd: simkd, rows: [{table: t}]}
`

// TestSeveralTeachers: a step may name several teachers, and its result depends on all.
func TestSeveralTeachers(t *testing.T) {
	r, err := Parse("two.yaml", []byte(twoTeachers))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	res, _, err := Run(context.Background(), backend(t), r, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	rows := res.Rows
	if len(rows) != 3 || rows[0].Parent != "a, b" || rows[1].Parent != "a, b" || rows[2].Parent != "b" {
		t.Fatalf("the rows are %+v", rows)
	}
	if rows[2].Params <= rows[1].Params {
		t.Errorf("with its projector the student has %d parameters, without %d", rows[2].Params, rows[1].Params)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "work", "both-*", "best.safetensors"))
	if len(files) != 1 {
		t.Fatalf("the student's files are %v", files)
	}
	c, err := checkpoint.Load(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if d := c.History[0].Detail; !strings.Contains(d, "teacher cnn-plain and cnn-group, kd:T=2+dist, teachers weighted by confidence") {
		t.Errorf("the student's history says %q", d)
	}
	// Another second teacher makes another student, and the first is not trained again.
	r, err = Parse("two.yaml", []byte(strings.Replace(twoTeachers, "arch: cnn-group", "seed: 5, arch: cnn-group", 1)))
	if err != nil {
		t.Fatal(err)
	}
	l := new(log)
	if _, _, err = Run(context.Background(), backend(t), r, Options{Dir: dir, Progress: l}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "both", "alike", "reused"}; !slices.Equal(l.done, want) {
		t.Errorf("done again are %v, want %v", l.done, want)
	}
	for _, c := range []struct{ old, bad, want string }{
		{"teacher: [a, b], kd", "teacher: [a, a], kd", "two.yaml:7:3: step both: distillation: the teacher a is there twice"},
		{"[a, b], kd: \"kd:T=2+dist\"", "a, kd: dist", "two.yaml:7:3: step both: distillation: teacher_shares weights several teachers"},
		{"kd:T=2+dist", "crd", "two.yaml:7:3: step both: distillation: crd takes one teacher"},
		{"shares: confidence", "shares: mine", "two.yaml:7:3: step both: distillation: teacher_shares is equal or confidence"},
		{"[a, b], rows", "[a, c], rows", "two.yaml:8:64: there is no step \"c\""},
	} {
		if _, err := Parse("two.yaml", []byte(strings.Replace(twoTeachers, c.old, c.bad, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.bad, err)
		}
	}
}
