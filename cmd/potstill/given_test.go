package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// misused runs a command line that must be refused with one line and status 2.
func misused(t *testing.T, want []string, args ...string) {
	t.Helper()
	r := potstill(t, args...)
	if r.code != 2 || strings.Count(r.err, "\n") != 1 || r.out != "" {
		t.Errorf("potstill %v: exit status %d\n%s%s", args, r.code, r.out, r.err)
	}
	for _, w := range want {
		if !strings.Contains(r.err, w) {
			t.Errorf("potstill %v: %q lacks %q", args, r.err, w)
		}
	}
}

func TestFlagsWithoutEffect(t *testing.T) {
	for _, line := range []string{
		"--momentum 0.9", "--nesterov", "--optimizer sgd --betas 0,0", "--optimizer sgd --eps 0", "--optimizer stale --clip-norm 1",
		"--gamma 0", "--schedule cosine --step-size 2", "--min-lr 0", "--schedule step --max-lr 1", "--warmup 2 --warmup-epochs 1",
		"--no-augment --flip 0.1", "--random-resized-crop 0.5,1 --padding 2", "--init x --base 4", "--init x --arch resnet18", "--init x --widths 4",
	} {
		words := strings.Fields(line)
		misused(t, []string{"no effect", "leave it out"}, with([]string{"train", "--data", "builtin:fashion"}, words...)...)
		misused(t, []string{"no effect", "leave it out"}, with([]string{"distill", "--data", "builtin:fashion"}, words...)...)
	}
	misused(t, []string{"--teacher-epochs", "no effect"}, "distill", "--data", "builtin:fashion", "--teacher", "x", "--teacher-epochs", "2")
}

func TestNumbersOutOfRange(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for line, want := range map[string]string{
		"--epochs -1":                          "epochs must be at least 1, not -1",
		"--batch -3":                           "batch must be at least 1, not -3",
		"--lr -1e-3":                           "-0.001",
		"--rotation -5":                        "-5",
		"--optimizer sgd --momentum 2":         "momentum must be in [0, 1): 2",
		"--schedule cosine --min-lr 0.1":       "above",
		"--schedule step --step-size 0":        "--step-size 0",
		"--schedule onecycle --max-lr 0":       "--max-lr 0",
		"--eps -1":                             "eps must not be negative: -1",
		"--schedule step --gamma -0.5":         "gamma must not be negative: -0.5",
		"--betas 0":                            "--betas has 1 numbers",
		"--betas 1,0.9":                        "betas must be in [0, 1)",
		"--schedule cosine --lr 1 --min-lr 10": "above",
	} {
		args := with([]string{"train", "--data", "builtin:fashion", "--limit", "20", "--base", "4", "--out", out}, strings.Fields(line)...)
		r := potstill(t, args...)
		if r.code != 1 || !strings.Contains(r.err, want) || strings.Contains(r.err, "short flag") {
			t.Errorf("%s: exit status %d: %s", line, r.code, r.err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "last.safetensors")); err == nil {
		t.Error("a refused run has left weights")
	}
}

// Zeros that are given are taken as given: the losses of the first step are
// those of the defaults, the later ones are not.
func TestZerosAreTakenAsGiven(t *testing.T) {
	losses := func(more ...string) []string {
		args := with([]string{"train", "--data", "builtin:fashion", "--base", "4", "--limit", "64", "--batch", "8", "--no-augment", "--no-shuffle",
			"--log-steps", "-", "--epochs", "1", "--threads", "2", "--out", filepath.Join(t.TempDir(), "a")}, more...)
		lines := strings.Split(succeeds(t, args...).out, "\n")
		if len(lines) < 8 {
			t.Fatalf("%q", lines)
		}
		return lines[:8]
	}
	defaults, zero := losses(), losses("--betas", "0,0")
	if defaults[0] != zero[0] {
		t.Errorf("the first steps differ: %s %s", defaults[0], zero[0])
	}
	for i := 2; i < 8; i++ {
		if defaults[i] == zero[i] {
			t.Errorf("--betas 0,0 makes no difference in step %d: %s", i+1, zero[i])
		}
	}
}

func TestResumeLongerIsRefusedWhereRatesDependOnIt(t *testing.T) {
	for schedule, wants := range map[string][]string{
		"onecycle": {"epochs was 1 and is 4 now", "onecycle"}, "cosine": {"epochs was 1 and is 4 now", "cosine"}, "constant": nil,
	} {
		out := filepath.Join(t.TempDir(), "a")
		args := small("train", "--schedule", schedule, "--out", out)
		succeeds(t, args...)
		args = with(args, "--resume", "--epochs", "4")
		if wants == nil {
			succeeds(t, args...)
			if n := strings.Count(string(read(t, filepath.Join(out, "metrics.jsonl"))), "\n"); n != 4 {
				t.Errorf("%d epochs of metrics", n)
			}
			continue
		}
		before := contents(t, out)
		fails(t, wants, args...)
		unchanged(t, out, before)
	}
}
