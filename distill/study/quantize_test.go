package study

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
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
  taught:  {kind: distill, arch: cnn-plain, base: 4, teacher: int8, kd: dist, teacher_precision: int8}
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
	if _, done, _ := run(t, b, recipe("mse"), o); !slices.Equal(done, []string{"student", "int8", "start", "qat", "taught"}) {
		t.Errorf("did %v", done)
	}
	for step, file := range map[string]string{"int8": compressedFile, "qat": "best.safetensors"} {
		c := kept(t, o.Dir, step, file)
		if _, integers := c.Net.Quantized(); !integers || c.Scheme() != checkpoint.Quantized {
			t.Errorf("%s is stored as %s", step, c.Scheme())
		}
	}
	if _, done, _ := run(t, b, recipe("minmax"), o); !slices.Equal(done, []string{"int8", "taught"}) {
		t.Errorf("with another observer, did %v", done)
	}
}

// TestTeacherInIntegers: a quantized teacher computes in integers where that is asked. Integers
// have the same bits wherever they are computed, so that a run with the teacher beside the student is that
// with the logits that evaluation has kept, to the bit.
func TestTeacherInIntegers(t *testing.T) {
	b := backend(t)
	r, err := Parse("r.yaml", []byte(strings.Replace(quantizing, "OBSERVER", "mse", 1)))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "out")}
	run(t, b, r, o)
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(40), ds.Val.Subset(20)
	net, err := layers.Arch{Family: "cnn-plain", Base: 4, Classes: 10}.Net()
	if err != nil {
		t.Fatal(err)
	}
	j := fit.Job{Net: net, Data: ds, Teacher: kept(t, o.Dir, "int8", compressedFile), KD: distill.Settings{Spec: "kd:T=2", Precision: distill.Int8},
		Config: train.Config{Epochs: 2, Batch: 20, Seed: 1, Shuffle: true, Optimizer: train.OptimizerConfig{LR: 1e-3},
			Train: data.EvalTransform(28), Eval: data.EvalTransform(28)}}
	losses := func(j fit.Job) (out []float64) {
		t.Helper()
		res, err := fit.Run(context.Background(), b, j)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range res.Result.History {
			out = append(out, e.TrainLoss)
		}
		return out
	}
	beside := losses(j)
	j.LogitsDir = t.TempDir()
	if got := losses(j); !slices.Equal(got, beside) {
		t.Errorf("by kept logits the losses are %v, with the teacher beside %v", got, beside)
	}
	if files, _ := filepath.Glob(filepath.Join(j.LogitsDir, "*")); len(files) != 1 {
		t.Errorf("kept are %v", files)
	}
	j.LogitsDir = ""
	for want, set := range map[string]func(*fit.Job){
		"at compares features":            func(j *fit.Job) { j.KD.Spec = "at" },
		"has no ranges of its activation": func(j *fit.Job) { j.Teacher = kept(t, o.Dir, "student", "best.safetensors") },
		"not \"int4\"":                    func(j *fit.Job) { j.KD.Precision = "int4" },
	} {
		k := j
		set(&k)
		if _, err := fit.Run(context.Background(), b, k); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
