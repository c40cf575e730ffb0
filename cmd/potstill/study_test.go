//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tinyStudy is a recipe with every kind of step.
const tinyStudy = `study: tiny
title: A tiny study
data: {source: builtin:fashion, size: 28, limit: {train: 200, val: 50}}
defaults: {epochs: 1, batch: 20, lr: 2e-3}
steps:
  teacher: {kind: train, arch: resnet18, base: 4}
  student: {kind: distill, arch: cnn-dwpw, base: 4, epochs: 30, teacher: teacher, rows: [{table: Compression, name: big model}]}
  pruned: {kind: prune, from: student, mult: 0.5, rows: [{table: Compression, name: pruned}]}
  chart: {kind: prune, from: student, rate: 0.9, rounds: [1, 2]}
  int8: {kind: quantise, from: student, scheme: affine8, rows: [{table: Compression, name: 8-bit}]}
  figures: {kind: evaluate, from: [student, int8], confusion: true}
checks:
  - {name: smaller, step: int8, metric: bytes, at_most: {of: student, share: 0.5}}
`

func TestStudy(t *testing.T) {
	dir := t.TempDir()
	recipe, out := filepath.Join(dir, "tiny.yaml"), filepath.Join(dir, "out")
	write(t, recipe, []byte(tinyStudy))
	args := []string{"study", "run", recipe, "--out", out, "--threads", "2"}

	cmd := command(t, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	student := filepath.Join(out, "work", "student-*", "metrics.jsonl")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if found, _ := filepath.Glob(student); len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the student was not begun:\n%s", errs.String())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its status is looked at below
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) || !strings.Contains(errs.String(), "the same command continues") {
		t.Fatalf("exit status %d, want 130 and how to resume:\n%s", code, errs.String())
	}

	r := succeeds(t, args...)
	if !strings.Contains(r.err, "teacher") || !strings.Contains(r.err, "(done before)") {
		t.Errorf("the teacher was trained again:\n%s", r.err)
	}
	for _, want := range []string{"big model", "ok      smaller", filepath.Join(out, "report.html")} {
		if !strings.Contains(r.out, want) {
			t.Errorf("standard output lacks %q:\n%s", want, r.out)
		}
	}
	strict := recipe + ".strict.yaml" // the same steps, and a check that fails
	write(t, strict, []byte(tinyStudy+"  - {name: tinier, step: int8, metric: bytes, at_most: {of: student, share: 0.01}}\n"))
	checked := []string{"study", "run", strict, "--out", out, "--threads", "2"}
	if r := succeeds(t, checked...); !strings.Contains(r.out, "FAILED  tinier") {
		t.Errorf("standard output has no failed check:\n%s", r.out)
	}
	r = potstill(t, with(checked, "--strict")...)
	if last := lastLine(r.err); r.code != 1 || !strings.Contains(r.out, "FAILED  tinier") || !strings.HasPrefix(last, "potstill: 1 of 2 checks failed (--strict): tinier: ") {
		t.Errorf("with --strict: exit status %d\n%s%s", r.code, r.out, r.err)
	}
	succeeds(t, with(args, "--strict")...)
	v := decode(t, succeeds(t, with(args, "--json", "--resume")...).out)
	has(t, v, "rows", "curves", "checks")
	for _, row := range v["rows"].([]any) {
		has(t, row, "name", "method", "params", "bytes", "val_accuracy", "images_per_second", "published")
	}
	curve := v["curves"].([]any)[0]
	has(t, curve, "rate", "points")
	has(t, curve.(map[string]any)["points"].([]any)[0], "params", "bytes", "val_accuracy")
}

func TestStudyListAndShow(t *testing.T) {
	list := succeeds(t, "study", "list").out
	for _, name := range []string{"hw7", "hw7-quick"} {
		if !strings.Contains(list, name) {
			t.Errorf("study list lacks %s:\n%s", name, list)
		}
		if text := succeeds(t, "study", "show", name).out; !strings.Contains(text, "steps:") {
			t.Errorf("study show %s prints no recipe:\n%s", name, text)
		}
	}
}
