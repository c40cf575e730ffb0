package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/fit"
)

// contents returns the bytes of a folder's files, by name.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, e := range all {
		if !e.IsDir() {
			out[e.Name()] = read(t, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

func unchanged(t *testing.T, dir string, before map[string][]byte) {
	t.Helper()
	after := contents(t, dir)
	if len(after) != len(before) {
		t.Errorf("%s has %d files, had %d", dir, len(after), len(before))
	}
	for name, b := range before {
		if !bytes.Equal(after[name], b) {
			t.Errorf("%s was changed or removed", filepath.Join(dir, name))
		}
	}
}

func TestRunIsNotOverwritten(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a")
	args := small("train", "--out", out)
	succeeds(t, args...)
	before := contents(t, out)
	if len(before) != 6 { // best, last, metrics in two forms, events, command
		t.Errorf("a run leaves %d files", len(before))
	}
	log := filepath.Join(t.TempDir(), "steps.jsonl")
	write(t, log, []byte("kept\n"))
	fails(t, []string{out, "--resume", "--force", "--out"}, with(args, "--seed", "9", "--log-steps", log)...)
	fails(t, []string{out, "--resume", "--force"}, small("distill", "--teacher", filepath.Join(out, "best.safetensors"), "--out", out)...)
	fails(t, []string{"--resume", "--force", "one of them"}, with(args, "--resume", "--force")...)
	fails(t, []string{filepath.Join(out, "best.safetensors"), "another folder"},
		fromFile("train", filepath.Join(out, "best.safetensors"), "--out", out, "--force")...)
	fails(t, []string{log, "--force"}, small("train", "--out", filepath.Join(t.TempDir(), "b"), "--log-steps", log)...)
	unchanged(t, out, before)
	if string(read(t, log)) != "kept\n" {
		t.Error("the log of another run was replaced")
	}

	succeeds(t, with(args, "--seed", "9", "--force")...)
	if bytes.Equal(read(t, filepath.Join(out, "best.safetensors")), before["best.safetensors"]) {
		t.Error("--force has left the old model")
	}
	succeeds(t, with(args, "--seed", "9", "--resume")...)

	// A model alone cannot be resumed, so that is not offered.
	alone := t.TempDir()
	write(t, filepath.Join(alone, "best.safetensors"), before["best.safetensors"])
	r := potstill(t, small("train", "--out", alone)...)
	if r.code != 1 || !strings.Contains(r.err, "--force") || strings.Contains(r.err, "--resume") {
		t.Errorf("exit status %d: %s", r.code, r.err)
	}
	// A run that was stopped under its teacher.
	write(t, filepath.Join(alone, "c", "teacher", "last.safetensors"), before["last.safetensors"])
	fails(t, []string{"teacher", "--resume"}, small("distill", "--out", filepath.Join(alone, "c"))...)
}

// Without --out every run has a folder of its own, and --resume takes the last.
func TestDefaultFolderIsFresh(t *testing.T) {
	dir := t.TempDir()
	in := func(args ...string) string {
		cmd := command(t, args...)
		cmd.Dir = dir
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, text)
		}
		return string(text)
	}
	in(small("train")...)
	first := contents(t, filepath.Join(dir, "out", "train"))
	if text := in(small("train", "--seed", "2")...); !strings.Contains(text, filepath.Join("out", "train-2")) {
		t.Errorf("the folder is not named:\n%s", text)
	}
	unchanged(t, filepath.Join(dir, "out", "train"), first)
	in(small("train", "--seed", "2", "--resume")...) // seed 2 is that of the second
	unchanged(t, filepath.Join(dir, "out", "train"), first)
}

func TestFolderInUse(t *testing.T) {
	out := t.TempDir()
	unlock, err := fit.Lock(filepath.Join(out, fit.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--force"}, {"--resume"}} {
		fails(t, []string{out, "in use"}, small("train", with(more, "--out", out)...)...)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	succeeds(t, small("train", "--out", out)...)
}

func TestModelIsNotReplacedByItsResult(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pruned.safetensors")
	write(t, path, read(t, model(t)))
	before := contents(t, filepath.Dir(path))
	for _, out := range []string{path, filepath.Dir(path) + "/./pruned.safetensors"} {
		fails(t, []string{out, "--out"}, "prune", "--model", path, "--mult", "0.5", "--out", out)
		fails(t, []string{out, "--out"}, "quantize", "--model", path, "--out", out)
	}
	fails(t, []string{path, "--out"}, "prune", "--model", path, "--mult", "0.5", "--out", filepath.Dir(path)) // the file's name in a folder
	unchanged(t, filepath.Dir(path), before)
}
