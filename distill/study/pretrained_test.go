package study

import (
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// TestPretrained takes a model in place of training where the images are those that
// it is for, and trains on others.
func TestPretrained(t *testing.T) {
	quick, err := Builtin("hw7", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"", kindImport}, {"builtin:fashion", kindImport}, {"food11", kindTrain}} { // the recipe itself stays as it is
		source, want := c[0], c[1]
		r, err := quick.override(Options{Data: source})
		if err != nil {
			t.Fatal(err)
		}
		s := r.step("teacher")
		if s.Kind != want || len(s.Rows) != 1 {
			t.Errorf("on %q the teacher is of kind %s, with rows %v; want %s", source, s.Kind, s.Rows, want)
		}
		if _, err := checkpoint.Load(s.File); want == kindImport && err != nil {
			t.Error(err)
		}
	}
	text := `study: s
data: {source: "builtin:fashion", size: 28, limit: {train: 40, val: 20}}
defaults: {epochs: 1, batch: 20}
steps:
  teacher: {kind: train, arch: cnn-plain, base: 4, pretrained: PRETRAINED}
  student: {kind: distill, arch: cnn-dwpw, base: 4, teacher: teacher}
`
	parse := func(p string) (*Recipe, error) {
		return Parse("r.yaml", []byte(strings.Replace(text, "PRETRAINED", p, 1)))
	}
	for _, bad := range []string{`{data: "builtin:fashion"}`, `{file: x}`} {
		if _, err := parse(bad); err == nil || !strings.Contains(err.Error(), "give both") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	r, err := parse(`{data: "builtin:fashion", file: "builtin:fashion-resnet18"}`)
	if err != nil {
		t.Fatal(err)
	}
	_, done, _ := run(t, backend(t), r, Options{Dir: t.TempDir()})
	if len(done) != 2 {
		t.Errorf("did %v", done)
	}
}
