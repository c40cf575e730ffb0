package study

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/lowrank"
	"github.com/potstill/potstill/distill/prune"
)

// base is a good recipe, one line a part, that the tests of errors change.
const base = `study: s
data: {source: builtin:fashion, size: 28}
defaults: {epochs: 2}
steps:
  a: {kind: train, arch: resnet18}
  b: {kind: distill, arch: cnn-dwpw, teacher: a}
  c: {kind: prune, from: b, mult: 0.5}
  d: {kind: quantise, from: c, scheme: affine8}
  e: {kind: evaluate, from: [b, d]}
checks:
  - {name: n, step: d, at_least: {of: b, points: -1}}
`

func TestRecipeErrors(t *testing.T) {
	if _, err := Parse("r.yaml", []byte(base)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"study: s", "studi: s", `r.yaml:1:1: unknown key "studi"; known here are study, title`},
		{"study: s", "", "the recipe has no name"},
		{"{epochs: 2}", "{epoch: 2}", `r.yaml:3:12: unknown key "epoch" in defaults`},
		{"{epochs: 2}", "{epochs: two}", `r.yaml:3:20: epochs wants a whole number from 0 to 2147483647, not "two"`},
		{"{epochs: 2}", "{epochs: 1.5}", `r.yaml:3:20: epochs wants a whole number`},
		{"{epochs: 2}", `{epochs: "2"}`, `r.yaml:3:20: epochs wants a whole number`},
		{"{epochs: 2}", "{epochs: -2}", `r.yaml:3:20: epochs wants a whole number`},
		{"{epochs: 2}", "{epochs: 0}", `r.yaml:5:3: step a: epochs must be at least 1`},
		{"{epochs: 2}", "{lr: .nan}", `r.yaml:3:16: lr wants a number`},
		{"{epochs: 2}", "{lr: \"1\"}", `r.yaml:3:16: lr wants a number, not "1"`},
		{"{epochs: 2}", "{lr: 1e-3, nesterov: 1}", `r.yaml:3:32: nesterov wants true or false, not 1`},
		{"{epochs: 2}", "{betas: 3}", `r.yaml:3:19: betas wants a list`},
		{"{epochs: 2}", "{betas: [0.1]}", `r.yaml:5:3: step a: betas are two numbers`},
		{"{epochs: 2}", "{schedule: cosine}", `r.yaml:3:22: schedule wants keys and values, not "cosine"`},
		{"{epochs: 2}", "{schedule: {kind: cosin}}", `r.yaml:5:3: step a: unknown schedule "cosin"`},
		{"{epochs: 2}", "{epochs: }", `epochs has no value`},
		{"{epochs: 2}", "&x {epochs: 2}", `r.yaml:3:11: anchors`},
		{"{epochs: 2}", "{epochs: 2, epochs: 3}", `r.yaml:3:23: not understood as YAML: mapping key "epochs" already defined`},
		{"{epochs: 2}", "[epochs: 2", `r.yaml:4:1: not understood as YAML`},
		{"kind: train", "kind: tran", `r.yaml:5:13: step a is of kind "tran"; the kinds are train, distill`},
		{"kind: train, ", "", `r.yaml:5:`},
		{"kind: train", "kind: train, mult: 0.5", `r.yaml:5:20: "mult" has no effect in a step of kind train`},
		{"kind: train", "kind: train, alpha: 0.5", `r.yaml:5:20: "alpha" has no effect`},
		{"arch: resnet18", "arch: resnet19", `r.yaml:5:26: step a: unknown model family "resnet19"`},
		{"arch: resnet18", "batch: 2", `r.yaml:5:3: step a names no architecture`},
		{"arch: resnet18", "from: b", `r.yaml:6:47: the steps a → b → a need one another in a circle`},
		{"teacher: a", "teacher: b", `r.yaml:6:47: the steps b → b need one another`},
		{"teacher: a", "teacher: x", `r.yaml:6:47: there is no step "x"; the steps are a, b, c, d, e`},
		{"teacher: a", "teacher: e", `r.yaml:6:47: "e" measures models and makes none`},
		{"teacher: a", "teacher: {a: 1}", `r.yaml:6:47: teacher[0] wants text`},
		{"teacher: a", "teacher: []", `r.yaml:6:3: step b distills but names no teacher`},
		{", teacher: a", "", `r.yaml:6:3: step b distills but names no teacher`},
		{"teacher: a", "teacher: a, alpha: 2", `r.yaml:6:3: step b: distillation: alpha must be in [0, 1]`},
		{"from: b, mult", "from: [b, a], mult", `r.yaml:7:26: step c can start from one model, not from 2`},
		{"from: b, mult", "mult", `r.yaml:7:3: step c needs a model to prune`},
		{"mult: 0.5", "mult: 5", `r.yaml:7:35: step c: mult must lie between 0 and 1`},
		{"mult: 0.5", "rate: 0.9", `r.yaml:7:3: step c has a rate but no rounds`},
		{"mult: 0.5", "rate: 0.9, rounds: [2, 1]", `r.yaml:7:52: rounds are ascending`},
		{"mult: 0.5", "rate: 0.9, rounds: 3", `r.yaml:7:48: rounds wants a list`},
		{"mult: 0.5", "mult: 0.5, optimizer: adamv", `r.yaml:7:3: step c: unknown optimizer "adamv"`},
		{"affine8", "affine9", `r.yaml:8:40: step d: unknown scheme "affine9"; choose one of ["affine4-block" "affine8"`},
		{"from: [b, d]", "from: [b, f]", `r.yaml:9:33: there is no step "f"`},
		{"from: [b, d]", "mistakes: 30, from: b", `passes go up to 1000 and mistakes to 24`},
		{"  e:", "  e/f:", `r.yaml:9:3: the step's name "e/f" becomes that of a folder`},
		{"  e:", "  1:", `r.yaml:9:3: a key must be a name, not 1`},
		{"step: d", "step: x", `r.yaml:11:21: there is no step "x"`},
		{"of: b", "of: e", `r.yaml:11:39: "e" measures models`},
		{"of: b, ", "", `r.yaml:11:34: check "n" needs of:`},
		{"at_least: {of: b, points: -1}", "metric: bytes", `r.yaml:11:5: check "n" needs at_least or at_most`},
		{"step: d", "step: d, metric: size", `r.yaml:11:32: unknown metric "size"`},
		{"checks:", "--- \nchecks:", `a second document begins`},
	} {
		text := strings.Replace(base, c.old, c.new, 1)
		if text == base {
			t.Fatalf("%q is not in the recipe", c.old)
		}
		_, err := Parse("r.yaml", []byte(text))
		var e *RecipeError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "r.yaml:") {
			t.Errorf("%s → %s: error %v, want a RecipeError", c.old, c.new, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s → %s:\n got %v\nwant %s", c.old, c.new, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"": "r.yaml:1:1: the recipe is empty", "- a\n": "r.yaml:1:1: the recipe wants keys and values, not a list",
		"study: s\n": "the recipe has no steps", "study: s\nsteps: 3\n": "r.yaml:2:8: steps wants keys and values",
	} {
		if _, err := Parse("r.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add("study: s\nsteps:\n  a: {kind: train, arch: cnn-plain, widths: [1, 2, 3, 4, 5]}\n")
	f.Add("? a\n: |\n  b\n- *c")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse("r", []byte(text))
		if (r == nil) == (err == nil) || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("recipe %v, error %v", r, err)
		}
	})
}

func TestLoad(t *testing.T) {
	if _, err := Load("testdata/none.yaml"); err == nil || !strings.Contains(err.Error(), "testdata/none.yaml") {
		t.Errorf("error %v", err)
	}
	if _, err := Load("testdata/tiny.yaml"); err != nil {
		t.Error(err)
	}
	if _, err := Builtin("hw8", false); err == nil || !strings.Contains(err.Error(), "there is hw7") {
		t.Errorf("error %v", err)
	}
}

// TestExampleOfDoc parses the recipe in the package documentation.
func TestExampleOfDoc(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var recipe strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "//\t"); ok {
			recipe.WriteString(rest)
		}
		if strings.Contains(line, "The kinds of steps") {
			break
		}
	}
	r, err := Parse("doc.go", []byte(recipe.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 6 {
		t.Errorf("%d steps", len(r.Steps))
	}
}

func TestBuiltins(t *testing.T) {
	for _, quick := range []bool{false, true} {
		r, err := Builtin("hw7", quick)
		if err != nil {
			t.Fatal(err)
		}
		units, err := r.plan()
		if err != nil {
			t.Fatal(err)
		}
		at := make(map[string]*unit)
		for _, u := range units {
			for _, need := range append([]*unit{u.from, u.base}, u.teachers...) {
				if need != nil && at[need.name] != need {
					t.Errorf("quick %v: %s comes before %s, which it needs", quick, u.name, need.name)
				}
			}
			at[u.name] = u
		}
		for _, name := range []string{"teacher", "scratch", "student", "plain", "group", "pruned", "stale", "int8", "int8-published", "float16", "chart-95.4", "chart-975.8", "figures.student"} {
			if at[name] == nil {
				t.Errorf("quick %v: no unit %s", quick, name)
			}
		}
		// The same budget, or the comparisons would mean nothing.
		same := at["scratch"].train.Config
		for _, name := range []string{"student", "plain", "group"} {
			if !reflect.DeepEqual(at[name].train.Config, same) {
				t.Errorf("quick %v: %s is trained otherwise than from scratch", quick, name)
			}
		}
		p, q := at["pruned"].train.Config, at["stale"].train.Config
		if p.Epochs != q.Epochs || p.Optimizer.Kind != "adamw" || q.Optimizer.Kind != "stale" || at["pruned"].mult != 0.35 {
			t.Errorf("quick %v: pruned %+v, stale %+v", quick, p, q)
		}
		if kd := at["student"].train.KD; kd.T != 20 || kd.Alpha != 0.5 {
			t.Errorf("quick %v: %+v", quick, kd)
		}
		if !quick {
			o := same.Optimizer
			if same.Epochs != 150 || same.Batch != 32 || o.Kind != "adamw" || o.LR != 1e-3 || o.WeightDecay != 0.01 || *o.Eps != 1e-8 ||
				*o.Betas != [2]float64{0.9, 0.999} || p.Epochs != 20 || r.Data.Size != 256 || same.Train.Rotation != 15 || !same.Train.RandomCrop {
				t.Errorf("not the recipe of hw7.md: %+v", same)
			}
		}
		if u := at["chart-95.8"]; u == nil || !slices.Contains([]string{"chart-95.4", "chart-95.7"}, u.from.name) || u.base.name != "student" {
			t.Errorf("quick %v: round 8 is %+v", quick, u)
		}
	}
}

// TestMethodsOfRecipes: a cut by a criterion and a factorization take the settings
// of their methods and of the training after them, and a teacher.
func TestMethodsOfRecipes(t *testing.T) {
	text := strings.Replace(base, "c: {kind: prune, from: b, mult: 0.5}",
		"c: {kind: prune, from: b, macs: 0.5, criterion: l1, rank: global, protect: [fc], teacher: b, temperature: 4, batch: 16}\n"+
			"  f: {kind: factorize, from: b, macs: 0.5, untimed: true, epochs: 3}", 1)
	r, err := Parse("r.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	units, err := r.plan()
	if err != nil {
		t.Fatal(err)
	}
	at := make(map[string]*unit)
	for _, u := range units {
		at[u.name] = u
	}
	o := at["c"].method.(*prune.Options)
	if o.MACs != 0.5 || o.Criterion != "l1" || o.Rank != "global" || o.Batch != 0 || at["c"].train.Config.Batch != 16 {
		t.Errorf("%+v, a batch of %d", o, at["c"].train.Config.Batch)
	}
	if !slices.Equal(at["c"].teachers, []*unit{at["b"]}) || at["c"].train.KD == nil || at["c"].train.KD.T != 4 {
		t.Errorf("the cut is tuned under %v with %+v", at["c"].teachers, at["c"].train.KD)
	}
	if f := at["f"].method.(*lowrank.Options); f.MACs != 0.5 || !f.Untimed || at["f"].train.Config.Epochs != 3 || at["f"].train.KD != nil {
		t.Errorf("%+v, %+v", f, at["f"].train)
	}
	timed := map[string]bool{"macs: 0.5, untimed: true": false, "macs: 0.5": true} // what is timed has the machine to itself
	for settings, want := range timed {
		r, err := Parse("r.yaml", []byte(strings.Replace(text, "macs: 0.5, untimed: true", settings, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.step("f").timed(); got != want {
			t.Errorf("a factorization with %s is timed: %t", settings, got)
		}
	}
	for old, want := range map[string]string{
		"criterion: l1": "there is no criterion", "macs: 0.5, criterion": "several targets", "untimed: true": "there is no form",
	} {
		bad := map[string]string{"criterion: l1": "criterion: l9", "macs: 0.5, criterion": "macs: 0.5, params: 0.5, criterion", "untimed: true": "form: cp"}[old]
		if _, err := Parse("r.yaml", []byte(strings.Replace(text, old, bad, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
