package main

import (
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// TestBuiltinModels takes every built-in model where a file is taken.
func TestBuiltinModels(t *testing.T) {
	for _, name := range checkpoint.Builtin() {
		dir := t.TempDir()
		v := decode(t, succeeds(t, "eval", "--model", name, "--data", "builtin:fashion", "--split", "validation", "--json").out)
		if top1, _ := v["top1"].(float64); top1 < 0.9 {
			t.Errorf("%s: %v of the validation images", name, v["top1"])
		}
		out := filepath.Join(dir, "net.onnx")
		succeeds(t, "convert", name, out)
		succeeds(t, "summary", out)
		fails(t, []string{"there are " + name}, "summary", name+"-not")
		run := filepath.Join(dir, "run")
		succeeds(t, "distill", "--teacher", name, "--data", "builtin:fashion", "--limit", "40", "--arch", "cnn-plain", "--base", "4", "--epochs", "1", "--out", run)
		succeeds(t, "distill", "--resume", "--epochs", "2", "--out", run)
	}
}
