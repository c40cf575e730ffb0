package study

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

const quantizing = `study: codes
data: {source: builtin:fashion, size: 28, limit: {train: 60, val: 40}}
defaults: {epochs: 1, batch: 20, lr: 1e-3}
steps:
  student: {kind: train, arch: cnn-dwpw, base: 4}
  int8:    {kind: quantize, from: student, scheme: int8, images: 20, observer: OBSERVER, correct_bias: true}
  start:   {kind: quantize, from: student, scheme: int8, images: 20, bits: 4, learned: true}
  qat:     {kind: train, from: start}
`

// A step quantizes with images of the study's data, another is trained with the
// quantizers that a third makes, and a setting that changes makes its step anew.
func TestQuantizeSteps(t *testing.T) {
	b := backend(t)
	recipe := func(observer string) *Recipe {
		r, err := Parse("r.yaml", []byte(strings.Replace(quantizing, "OBSERVER", observer, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "out")}
	if _, done, _ := run(t, b, recipe("mse"), o); !slices.Equal(done, []string{"student", "int8", "start", "qat"}) {
		t.Errorf("did %v", done)
	}
	for step, file := range map[string]string{"int8": compressedFile, "qat": "best.safetensors"} {
		c := kept(t, o.Dir, step, file)
		if _, integers := c.Net.Quantized(); !integers || c.Scheme() != checkpoint.Quantized {
			t.Errorf("%s is stored as %s", step, c.Scheme())
		}
	}
	if _, done, _ := run(t, b, recipe("minmax"), o); !slices.Equal(done, []string{"int8"}) {
		t.Errorf("with another observer, did %v", done)
	}
}
