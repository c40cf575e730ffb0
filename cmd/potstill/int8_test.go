package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// A model of 8-bit weights computes in integers where the processor can, unless
// the environment says no.
func TestInt8(t *testing.T) {
	coded := filepath.Join(t.TempDir(), "8bit.safetensors")
	succeeds(t, "quantize", "--model", model(t), "--scheme", "affine8-channel", "--out", coded)
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const step = "PointwiseInt8"
	if got, want := strings.Contains(succeeds(t, "explain", coded).out, step), b.Fuses(engine.PointwiseInt8{Max: 6}); got != want {
		t.Errorf("integers in the plan: %v, on the processor: %v", got, want)
	}
	if strings.Contains(succeeds(t, "explain", model(t)).out, step) {
		t.Error("integers for a model in float32")
	}
	t.Setenv(cpu.Int8Env, "0")
	if strings.Contains(succeeds(t, "explain", coded).out, step) {
		t.Errorf("integers in spite of %s=0", cpu.Int8Env)
	}
}
