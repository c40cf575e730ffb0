package main

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine/cpu"
)

// needsCompiledKernels skips a test of what bfloat16 brings in plain Go, which
// computes most of it in float32, from copies, and slowly.
func needsCompiledKernels(t *testing.T) {
	t.Helper()
	if cpu.Variants()[0] == "go" {
		t.Skip("plain Go computes most of bfloat16 in float32, from copies")
	}
}

// TestBFloat16 trains, distills, evaluates and predicts with activations in
// bfloat16 on the CPU, and holds what comes of it to float32.
func TestBFloat16(t *testing.T) {
	needsCompiledKernels(t)
	dir := t.TempDir()
	losses, best := map[string]float64{}, map[string]string{}
	for _, p := range []string{"float32", "bfloat16"} {
		out := filepath.Join(dir, p)
		v := decode(t, succeeds(t, "train", "--device", "cpu", "--threads", "2", "--precision", p, "--data", "builtin:fashion", "--arch", "cnn-dwpw", "--base", "8",
			"--limit", "320", "--batch", "32", "--epochs", "20", "--out", out, "--json").out) // 200 steps
		for _, e := range v["history"].([]any) {
			losses[p] += e.(map[string]any)["train_loss"].(float64)
		}
		best[p] = filepath.Join(out, "best.safetensors")
	}
	if a, b := losses["float32"], losses["bfloat16"]; a == b || math.Abs(a-b) > 0.01*a {
		t.Errorf("the mean loss of 200 steps is %v in float32 and %v in bfloat16: want them within 1 %%, and not the same", a/20, b/20)
	}
	for _, p := range []string{"float32", "bfloat16"} {
		succeeds(t, "distill", "--device", "cpu", "--teacher", best["float32"], "--teacher-precision", p, "--data", "builtin:fashion", "--arch", "cnn-plain",
			"--base", "4", "--limit", "32", "--batch", "16", "--epochs", "1", "--out", filepath.Join(dir, "student-"+p))
	}
	eval := func(p string) (top1, loss float64) {
		v := decode(t, succeeds(t, "eval", "--device", "cpu", "--model", best["float32"], "--precision", p, "--data", "builtin:fashion", "--split", "testing", "--json").out)
		return v["top1"].(float64), v["loss"].(float64)
	}
	t1, l1 := eval("float32")
	t2, l2 := eval("bfloat16")
	if l1 == l2 || math.Abs(l1-l2) > 0.01*l1 || math.Abs(t1-t2) > 0.01 {
		t.Errorf("a model has accuracy %v and loss %v in float32, %v and %v in bfloat16", t1, l1, t2, l2)
	}
}

// TestBFloat16Memory holds the memory that a training step takes to that of
// float32: it is planned, not measured.
func TestBFloat16Memory(t *testing.T) {
	needsCompiledKernels(t)
	arena := func(p string) float64 {
		return decode(t, succeeds(t, "explain", "cnn-dwpw", "--device", "cpu", "--input", "3x128x128", "--batch", "32", "--train", "--precision", p, "--json").out)["arena_bytes"].(float64)
	}
	if r := arena("bfloat16") / arena("float32"); !(r <= 0.65) {
		t.Errorf("a step in bfloat16 takes %.2f of the memory of one in float32, want 0.65 at most", r)
	}
}
