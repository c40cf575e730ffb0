package study_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/engine/ref"
)

// steps notes which steps of a study were done, and which had been before.
type steps struct{ done, cached []string }

func (s *steps) Begin(string, int, int, int) {}
func (s *steps) Advance(string, int, string) {}
func (s *steps) End(step, _ string, cached bool) {
	if cached {
		s.cached = append(s.cached, step)
	} else {
		s.done = append(s.done, step)
	}
}

// TestVersion1Study opens a study that scripts/golden_v1.sh finished with the
// first version of the checkpoint format: every step is found, none is made
// anew, and the report has the same rows. The reference backend did it, so that
// the steps' keys, which name the device, are those of every machine.
func TestVersion1Study(t *testing.T) {
	r, err := study.Load("testdata/v1/recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // the report is written anew
	if err := os.CopyFS(dir, os.DirFS("testdata/v1/out")); err != nil {
		t.Fatal(err)
	}
	want := rows(t, filepath.Join(dir, "results.json"))
	var s steps
	_, paths, err := study.Run(t.Context(), ref.New(), r, study.Options{Dir: dir, Progress: &s})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.done) != 0 || len(s.cached) != 6 {
		t.Errorf("made anew: %v; found: %v", s.done, s.cached)
	}
	got := rows(t, paths.JSON)
	if len(want) != 4 || len(got) != 4 {
		t.Fatalf("%d rows, of %d", len(got), len(want))
	}
	for i := range want { // there may be more fields than there were
		for name, value := range want[i].(map[string]any) {
			if name == "published" || name == "notes" {
				continue // which say today what the recipe does
			}
			if now := got[i].(map[string]any)[name]; !reflect.DeepEqual(now, value) {
				t.Errorf("row %d: %s is %v, and was %v", i, name, now, value)
			}
		}
	}
}

// rows returns the rows of a results.json.
func rows(t *testing.T, path string) []any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Rows []any }
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r.Rows
}
