package study

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/shrink"
)

const shrinking = `study: small
data: {source: builtin:fashion, size: 28, limit: {train: 60, val: 40, test: 30}}
defaults: {epochs: 1, batch: 20, lr: 1e-3, temperature: 4, augment: {flip: 0.5}, sparsity: 1e-5}
steps:
  start: {kind: train, arch: mlperf_resnet8, base: 4}
  small: {kind: shrink, from: start, under: BUDGET, rounds: 1, images: 16, tune: 32, plain: true, beside: [hand], rows: [{table: Budget, name: found}]}
  hand: {kind: prune, from: start, mult: 0.5}
  again: {kind: evaluate, from: small, mistakes: 2}
checks:
  - {name: within, step: small, metric: params, at_most: {value: 4000}}
`

// A step searches under a budget, its net is taken by another, and neither is done
// again but where the budget changes.
func TestShrinkStep(t *testing.T) {
	b := backend(t)
	recipe := func(budget string) *Recipe {
		r, err := Parse("r.yaml", []byte(strings.Replace(shrinking, "BUDGET", budget, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "out")}
	res, done, _ := run(t, b, recipe("4k params"), o)
	if !slices.Equal(done, []string{"start", "hand", "small", "again.small"}) {
		t.Errorf("did %v", done)
	}
	c := kept(t, o.Dir, "small", shrink.ResultFile)
	if m, err := c.Net.Model(); err != nil || m.Params() > 4000 {
		t.Errorf("a net of %d parameters (%v)", m.Params(), err)
	}
	if h := c.History[len(c.History)-1]; !strings.Contains(h.Recipe, "step small") {
		t.Errorf("its history ends with %+v", h)
	}
	if len(res.Checks) != 1 || !res.Checks[0].Pass || len(res.Rows) != 1 || res.Rows[0].Bytes != c.Bytes || res.Rows[0].Method != "searched under 4k params" {
		t.Errorf("the report has %+v, %+v", res.Checks, res.Rows)
	}
	pages, err := filepath.Glob(filepath.Join(o.Dir, "work", "small-*", "report.html"))
	if err != nil || len(pages) != 1 {
		t.Fatalf("the search has the reports %v (%v)", pages, err)
	}
	page, err := os.ReadFile(pages[0])
	for _, want := range []string{"on the 30 test images", "plain recipe", "start net", "hand", "1 of 1 met"} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the search's report lacks %q (%v)", want, err)
		}
	}
	if _, done, _ := run(t, b, recipe("4k params"), o); len(done) != 0 {
		t.Errorf("a study that is done does %v again", done)
	}
	if _, done, _ := run(t, b, recipe("4.5k params"), o); !slices.Equal(done, []string{"small", "again.small"}) {
		t.Errorf("under another budget, did %v", done)
	}
}

// Mistakes in a step's settings are named where they stand.
func TestShrinkStepMistakes(t *testing.T) {
	for settings, want := range map[string]string{
		"under: 98496X":                 "4:37: step b: \"98496X\" is no budget",
		"rounds: 2":                     "4:38: step b: what may the net cost?",
		"under: 9kB, bits: [4, 8]":      "4:48: step b: shrink: bits [4 8]; name the most first",
		"under: 9kB, rounds: -1":        "4:50: rounds wants a whole number",
		"under: 9kB, rounds: [1]":       "4:50: rounds wants a whole number",
		"under: 9kB, rate: 0.5":         "4:42: \"rate\" has no effect in a step of kind shrink",
		"under: 9kB, sparsity: 1e-4":    "4:42: \"sparsity\" has no effect in a step of kind shrink",
		"under: 9kB, start: cnn-dwpw":   "4:49: step b starts from the model of a; remove start or from",
		"under: 9kB, beside: [c]":       "4:51: there is no step \"c\"",
		"under: 9kB, start_epochs: 2":   "4:56: step b: there is no start net to train",
		"under: 9kB, time: soon":        "4:48: step b: \"soon\" is no time",
		"under: 9kB, kd: none":          "4:3: step b: distillation",
		"under: 9kB, least: 1":          "4:49: step b: shrink: shares lie from 0",
		"under: [1ms@1, 2 ms]":          "4:37: step b: \"2 ms\" is a second limit of time",
		"under: 1M macs, qat_epochs: 1": "4:58: step b: shrink: there are no bits to train for",
	} {
		_, err := Parse("r.yaml", []byte("study: s\ndata: {source: builtin:fashion, size: 28}\nsteps: {a: {kind: train, arch: cnn-dwpw},\n  b: {kind: shrink, from: a, "+settings+"}}\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "r.yaml:"+want) {
			t.Errorf("%s: want %q, got %v", settings, want, err)
		}
	}
}

// A step can begin with a family in place of a model.
func TestShrinkStepStart(t *testing.T) {
	r, err := Parse("r.yaml", []byte(`study: grown
data: {source: builtin:fashion, size: 28, limit: {train: 60, val: 40, test: 30}}
steps:
  teacher: {kind: train, arch: cnn-plain, base: 2}
  small: {kind: shrink, start: mlperf_resnet8, start_epochs: 1, teacher: teacher, under: 4k params, rounds: 1, images: 16, tune: 32, temperature: 4, alpha: 0.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "out")}
	if _, done, _ := run(t, backend(t), r, o); !slices.Equal(done, []string{"teacher", "small"}) {
		t.Errorf("did %v", done)
	}
	c := kept(t, o.Dir, "small", shrink.ResultFile)
	if m, err := c.Net.Model(); err != nil || m.Params() > 4000 || c.Net.Family != "mlperf_resnet8" {
		t.Errorf("%s of %d parameters (%v)", c.Net, m.Params(), err)
	}
}
