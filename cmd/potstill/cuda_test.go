package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// onFake lets the commands of a test find the stand-ins for CUDA's libraries.
func onFake(t *testing.T) {
	t.Helper()
	t.Setenv("POTSTILL_CUDA_PATH", fake.Dir(t))
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // measured times of other tests are not this one's
}

func TestDevicesWithCUDA(t *testing.T) {
	onFake(t)
	v := decode(t, succeeds(t, "devices", "--json").out)
	list := v["devices"].([]any)
	if len(list) != 2 {
		t.Fatalf("%d devices, want the processor and the card", len(list))
	}
	has(t, list[1], "name", "model", "memory_bytes", "compute_capability", "multiprocessors", "driver")
	info := v["cuda"].(map[string]any)
	if info["available"] != true || len(info["libraries"].([]any)) != 5 {
		t.Errorf("cuda is %v", info)
	}
	if text := succeeds(t, "devices").out; !strings.Contains(text, "cuda:0") || !strings.Contains(text, "libnvrtc 12") {
		t.Errorf("the table of devices is:\n%s", text)
	}
}

// TestCUDAFromTheCommandLine trains on the stand-in device, and evaluates there
// and on the CPU.
func TestCUDAFromTheCommandLine(t *testing.T) {
	onFake(t)
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"--data", "builtin:fashion", "--arch", "cnn-dwpw", "--base", "4", "--limit", "32", "--batch", "16", "--epochs", "1", "--out", out, "--json"}
	trained := decode(t, succeeds(t, with([]string{"train", "--device", "cuda:0"}, args...)...).out)
	has(t, trained, "val_accuracy")
	best := filepath.Join(out, "best.safetensors")
	eval := func(device string) (top1, loss float64) {
		v := decode(t, succeeds(t, "eval", "--data", "builtin:fashion", "--model", best, "--device", device, "--limit", "20", "--json").out)
		return v["top1"].(float64), v["loss"].(float64)
	}
	t1, l1 := eval("cuda:0")
	t2, l2 := eval("cpu")
	if t1 != t2 || l1-l2 > 1e-4 || l2-l1 > 1e-4 {
		t.Errorf("the card says %v, %v and the CPU %v, %v", t1, l1, t2, l2)
	}
}

// TestMixedPrecision trains in bfloat16 on the stand-in device, under a teacher
// too.
func TestMixedPrecision(t *testing.T) {
	onFake(t)
	dir := t.TempDir()
	losses := map[string]float64{}
	for _, p := range []string{"float32", "bfloat16"} {
		out := filepath.Join(dir, p)
		v := decode(t, succeeds(t, "train", "--device", "cuda:0", "--precision", p, "--data", "builtin:fashion", "--arch", "cnn-dwpw", "--base", "4", "--limit", "32", "--batch", "16",
			"--epochs", "1", "--out", out, "--json").out)
		losses[p] = v["history"].([]any)[0].(map[string]any)["train_loss"].(float64)
	}
	if d := losses["float32"] - losses["bfloat16"]; d == 0 || d > 0.05 || d < -0.05 {
		t.Errorf("training losses are %v: want them near each other, and not the same", losses)
	}
	succeeds(t, "distill", "--teacher", filepath.Join(dir, "float32", "best.safetensors"), "--device", "cuda:0", "--precision", "bfloat16", "--arch", "cnn-plain",
		"--data", "builtin:fashion", "--base", "4", "--limit", "32", "--batch", "16", "--epochs", "1", "--out", filepath.Join(dir, "student"))
}

func TestAutoTakesTheCard(t *testing.T) {
	onFake(t)
	if r := succeeds(t, "explain", "cnn-dwpw", "--base", "4", "--input", "3x28x28", "--device", "auto", "--json"); !strings.Contains(r.out, "cuda:0") {
		t.Errorf("with a card there, the plan is for\n%s", r.out)
	}
}

// TestAutoWithoutLibraries: a driver alone is not enough, and the CPU computes.
func TestAutoWithoutLibraries(t *testing.T) {
	onFake(t)
	dir := t.TempDir()
	name := "libcuda.so.1"
	if err := os.WriteFile(filepath.Join(dir, name), read(t, filepath.Join(os.Getenv("POTSTILL_CUDA_PATH"), name)), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POTSTILL_CUDA_PATH", dir)
	r := potstill(t, "explain", "cnn-dwpw", "--base", "4", "--input", "3x28x28", "--device", "auto", "--json")
	if r.code != 0 {
		t.Fatalf("exit status %d: %s", r.code, r.err)
	}
	if strings.Contains(r.out, "cuda:0") {
		t.Skip("this machine has an NVRTC of its own")
	}
	if !strings.Contains(r.err, "computing on the CPU") || !strings.Contains(r.err, "libnvrtc") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("standard error is %q, want one line that says what is missing", r.err)
	}
}

func TestBenchKernelsSideBySide(t *testing.T) {
	onFake(t)
	v := decode(t, succeeds(t, "bench", "kernels", "--device", "cuda:0", "--against", "cpu", "--check", "--arch", "cnn-dwpw", "--base", "2",
		"--size", "16", "--batch", "3", "--time", "1ms", "--passes", "infer", "--filter", "conv2d", "--json").out)
	has(t, v["against"], "device", "threads", "limits")
	won := 0
	for _, x := range v["rows"].([]any) {
		row := x.(map[string]any)
		has(t, row, "us", "gbs", "percent", "bound", "error")
		has(t, row["against"], "us", "percent", "error")
		for _, r := range []map[string]any{row, row["against"].(map[string]any)} {
			if e := r["error"].(float64); !(e < 1e-5) {
				t.Errorf("%v %v is off by %g", row["op"], row["in"], e)
			}
		}
		if row["implementation"] != nil {
			won++
		}
	}
	if won == 0 {
		t.Error("no row says which implementation won")
	}
}
