package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// limited runs the command with so much memory, as Go's own limit says it.
func limited(t *testing.T, limit string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT="+limit)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatal(err)
		}
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// fitting returns the batch that an error of one line says would fit.
func fitting(t *testing.T, r result) string {
	t.Helper()
	line := lastLine(r.err)
	if r.code != 1 || !strings.HasPrefix(line, "potstill: ") || strings.Contains(r.err, "goroutine") {
		t.Fatalf("exit status %d, want 1 and one line:\n%s%s", r.code, r.out, r.err)
	}
	_, rest, ok := strings.Cut(line, "a batch of ")
	n, _, _ := strings.Cut(rest, " ")
	if !ok || !strings.Contains(line, "would fit") {
		t.Fatalf("%q names no batch that fits", line)
	}
	if testing.Verbose() {
		t.Log(line)
	}
	return n
}

// Batches beyond the memory are refused in one line that names a batch which
// does fit, on every path.
func TestBatchesBeyondMemory(t *testing.T) {
	const limit = "300MiB"
	m := model(t)
	for _, args := range [][]string{
		{"train", "--data", "builtin:fashion", "--base", "4", "--size", "64", "--epochs", "1", "--limit", "600", "--batch"},
		{"eval", "--model", m, "--data", "builtin:fashion", "--size", "96", "--limit", "900", "--batch"},
		{"bench", "train", "--arch", "cnn-dwpw", "--base", "4", "--size", "32", "--time", "1ms", "--batch"},
		{"bench", "kernels", "--arch", "cnn-dwpw", "--base", "4", "--size", "32", "--time", "1ms", "--filter", "batchnorm", "--passes", "train", "--batch"},
	} {
		if args[0] == "train" {
			args = append(args[:1:1], append([]string{"--out", t.TempDir()}, args[1:]...)...)
		}
		big := "900"
		if args[0] == "bench" {
			big = "100000"
		}
		n := fitting(t, limited(t, limit, with(args, big)...))
		if r := limited(t, limit, with(args, n)...); r.code != 0 {
			t.Errorf("%s: the batch of %s that would fit does not:\n%s", strings.Join(args, " "), n, r.err)
		}
		if args[0] == "bench" { // beyond what any machine has, and any integer product
			fitting(t, potstill(t, with(args, "4000000000000000000")...))
		}
	}
}

// explain allocates nothing, so it explains what the machine has no room for.
func TestExplainBeyondMemory(t *testing.T) {
	r := limited(t, "60MiB", "explain", "resnet18", "--input", "3x224x224", "--batch", "100000", "--train", "--json")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	if v := decode(t, r.out); v["arena_bytes"].(float64) < 1e12 {
		t.Errorf("an arena of %v bytes", v["arena_bytes"])
	}
	fails(t, []string{"any machine", "give 1048576 or fewer"}, "explain", "resnet18", "--batch", "4000000000000000000")
}
