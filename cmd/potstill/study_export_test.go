//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// momentStudy is a recipe whose steps are done in a moment.
const momentStudy = `study: moment's $tudy
title: A study of a moment
data: {source: builtin:fashion, size: 16, limit: {train: 60, val: 20, test: 20}}
defaults: {epochs: 1, batch: 20, lr: 4e-3}
steps:
  teacher: {kind: train, arch: cnn-plain, base: 2, seed: 5}
  student: {kind: distill, arch: cnn-dwpw, base: 2, teacher: teacher, temperature: 4, rows: [{table: All}]}
  small: {kind: prune, from: student, mult: 0.5, rows: [{table: All}]}
  codes: {kind: quantize, from: small, scheme: affine8, rows: [{table: All}]}
  figures: {kind: evaluate, from: [student]}
`

// An exportCase is a study in a folder with an odd name, and what it comes to in one
// run elsewhere.
type exportCase struct {
	dir, recipe string // the recipe relative to the folder
	program     string
	models      map[string]string
	rows        any
}

// exported makes the folder, and runs the study elsewhere.
func exported(t *testing.T, flags ...string) *exportCase {
	t.Helper()
	c := &exportCase{recipe: `my "recipe" #1: $x 'y' ü%.yaml`}
	c.dir = filepath.Join(t.TempDir(), `a b'c"d$e#f:g ü%`)
	write(t, filepath.Join(c.dir, c.recipe), []byte(momentStudy))
	c.program = filepath.Join(c.dir, "pot $till#'s")
	if err := os.Symlink(binary, c.program); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	succeeds(t, with([]string{"study", "run", filepath.Join(c.dir, c.recipe), "--out", whole, "--threads", "2"}, flags...)...)
	c.models, c.rows = studyResult(t, whole)
	return c
}

// studyResult returns a study's models, and its rows without times.
func studyResult(t *testing.T, dir string) (models map[string]string, rows any) {
	t.Helper()
	models = make(map[string]string)
	files, err := filepath.Glob(filepath.Join(dir, "work", "*", "*.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Base(f) != "last.safetensors" { // which has times in it
			name, _ := filepath.Rel(dir, f)
			models[name] = string(read(t, f))
		}
	}
	v := decode(t, string(read(t, filepath.Join(dir, "results.json"))))
	for _, row := range v["rows"].([]any) {
		for _, timed := range []string{"images_per_second", "latency"} {
			delete(row.(map[string]any), timed)
		}
	}
	return models, v["rows"]
}

// check compares what a folder holds with the study of one run.
func (c *exportCase) check(t *testing.T) {
	t.Helper()
	models, rows := studyResult(t, filepath.Join(c.dir, "out", strings.TrimSuffix(c.recipe, ".yaml")))
	if len(c.models) < 4 || len(models) != len(c.models) {
		t.Errorf("%d models, want %d", len(models), len(c.models))
	}
	for name, text := range c.models {
		if models[name] != text {
			t.Errorf("%s differs", name)
		}
	}
	if got, want := fmt.Sprint(rows), fmt.Sprint(c.rows); got != want {
		t.Errorf("rows\n%s\nwant\n%s", got, want)
	}
}

// run runs a command in the folder.
func (c *exportCase) run(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *exportCase) must(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := c.run(t, env, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// A study that GNU make does, two steps at a time, comes to what one run comes to.
func TestStudyWithMake(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	c := exported(t, "--seeds", "2")
	c.must(t, nil, c.program, "study", "export", c.recipe, "--to", "make", "--out", "mk", "--seeds", "2", "--threads", "2", "--jobs", "2")
	if out := c.must(t, nil, "make", "-s", "-f", "mk", "step.teacher"); strings.Contains(out, "student") || !strings.Contains(out, "teacher") {
		t.Errorf("the step alone: %s", out)
	}
	out := c.must(t, nil, "make", "-C", "/", "-j2", "-f", filepath.Join(c.dir, "mk"))
	if strings.Count(out, "(done before)") != 10+1 || !strings.Contains(out, "report.html") { // in the report's run; and the teacher once more
		t.Errorf("make says\n%s", out)
	}
	c.check(t)

	write(t, filepath.Join(c.dir, c.recipe), []byte(momentStudy+"checks: []\n"))
	out, err := c.run(t, nil, "make", "-s", "-f", "mk", "step.codes.2")
	if err == nil || !strings.Contains(out, "is not the one that was exported") || strings.Contains(out, "student") {
		t.Errorf("with another recipe: %v\n%s", err, out)
	}
}

// standIn is an sbatch that keeps its arguments and its folder in a file, and
// answers with a number.
const standIn = `#!/bin/bash
[[ -e $JOBS/broken && $(ls "$JOBS" | wc -l) -gt 2 ]] && { echo "sbatch: error: no such partition" >&2; exit 1; }
for ((n = 100; ; n++)); do [[ -e $JOBS/$n ]] || break; done
printf '%s\0' "$PWD" "$@" > "$JOBS/$n"
echo "$n;cluster"
`

// Jobs that are run in any order that their dependencies leave come to what one run
// of the study comes to. The latest that may begin is run first here.
func TestStudyWithSlurm(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	c := exported(t)
	jobs, bin := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "sbatch"), []byte(standIn), 0o777); err != nil {
		t.Fatal(err)
	}
	env := []string{"JOBS=" + jobs, "PATH=" + bin + ":" + os.Getenv("PATH")}
	c.must(t, nil, c.program, "study", "export", c.recipe, "--to=slurm", "--out=submit.sh", "--threads=2")
	if out := c.must(t, env, "./submit.sh", "--partition=a b", "--time=1:00:00"); !strings.Contains(out, "report is job 105\n") {
		t.Errorf("the script says\n%s", out)
	}

	type job struct {
		args  []string
		needs []string
	}
	all := make(map[string]job)
	for n := 100; n < 106; n++ {
		words := strings.Split(strings.TrimSuffix(string(read(t, filepath.Join(jobs, fmt.Sprint(n)))), "\x00"), "\x00")
		if words[0] != c.dir {
			t.Errorf("submitted in %s", words[0])
		}
		j := job{args: words[1:]}
		for _, want := range []string{"--parsable", "--kill-on-invalid-dep=yes", "--partition=a b", "--time=1:00:00"} {
			if !slices.Contains(j.args, want) {
				t.Errorf("job %d lacks %s: %q", n, want, j.args)
			}
		}
		for _, a := range j.args {
			if ids, ok := strings.CutPrefix(a, "--dependency=afterok:"); ok {
				j.needs = strings.Split(ids, ":")
			}
		}
		if timed := n >= 104; slices.Contains(j.args, "--exclusive") != timed { // figures, report
			t.Errorf("job %d: %q", n, j.args)
		}
		all[fmt.Sprint(n)] = j
	}
	var order []string
	for len(order) < len(all) {
		next := ""
		for n, j := range all {
			ready := !slices.Contains(order, n) && !slices.ContainsFunc(j.needs, func(k string) bool { return !slices.Contains(order, k) })
			if ready && n > next {
				next = n
			}
		}
		if next == "" {
			t.Fatalf("no job may begin after %q", order)
		}
		order = append(order, next)
		for _, a := range all[next].args {
			if text, ok := strings.CutPrefix(a, "--wrap="); ok {
				c.must(t, nil, "sh", "-c", text)
			}
		}
	}
	// The names of the steps follow from the recipe: teacher, student, small, codes, figures, report.
	if want := []string{"100", "101", "104", "102", "103", "105"}; !slices.Equal(order, want) {
		t.Errorf("the order was %q, want %q", order, want)
	}
	c.check(t)

	if err := os.RemoveAll(jobs); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(jobs, "broken"), nil)
	out, err := c.run(t, env, "./submit.sh")
	if want := regexp.MustCompile(`small was not submitted: .*; scancel 100 101 cancels the jobs before it\n$`); err == nil || !want.MatchString(out) {
		t.Errorf("when sbatch fails: %v\n%s", err, out)
	}
}

func TestStudyExportMistakes(t *testing.T) {
	dir := t.TempDir()
	recipe := filepath.Join(dir, "r.yaml")
	write(t, recipe, []byte(momentStudy))
	fails(t, []string{"hw7", "--data"}, "study", "export", "hw7", "--to", "make")
	fails(t, []string{dir, "is a folder", "--dir"}, "study", "export", recipe, "--to", "make", "--out", dir)
	fails(t, []string{recipe, "is there already", "choose another file"}, "study", "export", recipe, "--to", "make", "--out", recipe)
	fails(t, []string{"control character"}, "study", "export", recipe, "--to", "make", "--dir", "a\nb")
	fails(t, []string{filepath.Join(dir, "no", "mk"), "no such file or directory"}, "study", "export", recipe, "--to", "make", "--out", filepath.Join(dir, "no", "mk"))
	fails(t, []string{"step small needs steps teacher, student", "potstill study step " + recipe + " teacher student"}, "study", "step", recipe, "small", "--out", filepath.Join(dir, "out"))
	fails(t, []string{`no step "big"`, "teacher, student, small"}, "study", "step", recipe, "big", "--out", filepath.Join(dir, "out"))
	fails(t, []string{"--jobs is for make"}, "study", "export", recipe, "--to", "slurm", "--jobs", "2")
	fails(t, []string{"--share -1"}, "study", "step", recipe, "teacher", "--share", "-1")
	fails(t, []string{"--jobs 0"}, "study", "step", recipe, "teacher", "--jobs", "0")
	if r := potstill(t, "study", "export", recipe); r.code != 2 || !strings.Contains(r.err, "--to") {
		t.Errorf("without --to: %d %s", r.code, r.err)
	}
	if text := string(read(t, recipe)); text != momentStudy {
		t.Error("the recipe was overwritten")
	}
	var made []any
	text := succeeds(t, "study", "step", recipe, "teacher", "--out", filepath.Join(dir, "out"), "--jobs", "2", "--json").out
	if err := json.Unmarshal([]byte(text), &made); err != nil || len(made) != 1 {
		t.Fatal(err, text)
	}
	has(t, made[0], "step", "seed", "folder", "file", "bytes", "params", "val_accuracy", "test_accuracy", "seconds")
}
