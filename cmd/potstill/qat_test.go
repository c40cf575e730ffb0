package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A trained net is trained on with quantizers, whose steps move; a run that is
// resumed ends with the same weights; the best file has codes.
func TestQAT(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	images := []string{"--data", "builtin:fashion", "--limit", "200", "--lr", "1e-3"}
	run := func(args ...string) { succeeds(t, append(append([]string{"train"}, args...), images...)...) }
	run("--arch", "cnn-dwpw", "--base", "4", "--epochs", "1", "--out", plain)
	init := filepath.Join(plain, "last.safetensors")
	qat := []string{"--qat", "--qat-bits", "4", "--init", init}
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	run(append(qat, "--epochs", "2", "--out", whole)...)
	run(append(qat, "--epochs", "1", "--out", parts)...)
	succeeds(t, "train", "--resume", "--epochs", "2", "--out", parts)
	a, err := checkpoint.Load(filepath.Join(whole, "last.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := checkpoint.Load(filepath.Join(parts, "last.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range a.State {
		if !slices.Equal(e.Data, b.State[i].Data) {
			t.Errorf("%s of the resumed run is another", e.Name)
		}
	}
	best, err := checkpoint.Load(filepath.Join(whole, "best.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if any, integers := best.Net.Quantized(); !any || !integers || best.Scheme() != checkpoint.Quantized {
		t.Errorf("%s is stored as %s", best.Path, best.Scheme())
	}
	start := filepath.Join(dir, "start.safetensors")
	succeeds(t, "quantize", "--model", init, "--scheme", "int8", "--bits", "4", "--seed", "1", "--calibrate", "builtin:fashion", "--out", start)
	begun, err := checkpoint.Load(start)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i := range begun.Net.Modules {
		m := &begun.Net.Modules[i]
		if _, ok := m.Fake[layers.FakeWeight]; ok {
			name := m.Tensor(layers.ScaleRole(layers.FakeWeight))
			if begun.State.Find(name).Data[0] != best.State.Find(name).Data[0] {
				moved++
			}
		}
	}
	if moved == 0 {
		t.Error("no step has moved")
	}
	fails(t, []string{"--init"}, "train", "--qat", "--data", "builtin:fashion")
	fails(t, []string{"--qat"}, "train", "--qat-bits", "4", "--data", "builtin:fashion")
	fails(t, []string{"quantized already"}, append([]string{"train", "--qat", "--init", start, "--epochs", "1", "--out", filepath.Join(dir, "twice")}, images...)...)
	fails(t, []string{"--calibrate"}, "quantize", "--model", init, "--scheme", "int8", "--out", start)
	fails(t, []string{"weights alone"}, "quantize", "--model", init, "--scheme", "float16", "--calibrate", "builtin:fashion", "--out", start)
}
