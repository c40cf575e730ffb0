package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// A mistake in the student's settings is said before a teacher is trained.
func TestDistillChecksBeforeTheTeacher(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for line, want := range map[string]string{
		"--alpha 1.5":              "alpha must be in [0, 1]",
		"--T -2":                   "temperature must be positive",
		"--freeze nothing.at.all":  "nothing.at.all",
		"--lr-scale nothing=2":     "nothing",
		"--ema 1":                  "ema decay",
		"--log-steps /nowhere/x/y": "--log-steps",
	} {
		fails(t, []string{want}, small("distill", with(strings.Fields(line), "--teacher-base", "4", "--out", out)...)...)
		if _, err := os.Stat(filepath.Join(out, "teacher")); err == nil {
			t.Fatalf("%s: a teacher was begun", line)
		}
	}
}

func TestLastBatchOfOneIsSaidAtTheStart(t *testing.T) {
	dir := pictureFolder(t, 11, "daisy", "rose", "tulip") // 33 pictures
	args := []string{"train", "--data", dir, "--arch", "resnet18", "--base", "4", "--size", "32", "--resize", "32", "--batch", "32", "--epochs", "1"}
	out := filepath.Join(t.TempDir(), "a")
	fails(t, []string{"33 images", "batches of 32", "--drop-last", "--batch"}, with(args, "--out", out)...)
	if _, err := os.Stat(out); err == nil {
		t.Error("a folder without anything in it is left")
	}
	succeeds(t, with(args, "--drop-last", "--out", out)...)
}

func TestBrokenStart(t *testing.T) {
	c, err := checkpoint.Load(model(t))
	if err != nil {
		t.Fatal(err)
	}
	e := &c.State[4]
	e.Data[1] = float32(math.NaN())
	path := filepath.Join(t.TempDir(), "nan.safetensors")
	if _, err := checkpoint.Save(path, c); err != nil {
		t.Fatal(err)
	}
	want := []string{path, e.Name, "NaN", "broken"}
	fails(t, want, "train", "--data", "builtin:fashion", "--limit", "20", "--init", path, "--out", filepath.Join(t.TempDir(), "a"))
	fails(t, want, small("distill", "--teacher", path, "--out", filepath.Join(t.TempDir(), "a"))...)
	fails(t, want, "prune", "--model", path, "--mult", "0.5", "--out", filepath.Join(t.TempDir(), "a.safetensors"))
	r := succeeds(t, "convert", path, filepath.Join(t.TempDir(), "a.pth"))
	for _, w := range want {
		if !strings.Contains(r.err, w) {
			t.Errorf("convert says %q, which lacks %q", r.err, w)
		}
	}
}
