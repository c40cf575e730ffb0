package study

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/potstill/potstill/distill/claim"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// helperDir is the environment variable that turns the test's binary into a
// process that runs the small study in that folder.
const helperDir = "POTSTILL_TEST_STUDY_DIR"

func TestMain(m *testing.M) {
	latencyTime = 10 * time.Millisecond
	if dir := os.Getenv(helperDir); dir != "" {
		if err := helper(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper runs the small study, and prints a line when a step begins and one when
// it ends.
func helper(dir string) error {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		return err
	}
	r, err := Parse("small.yaml", []byte(small))
	if err != nil {
		return err
	}
	p := &steps{told: func(line string) { fmt.Println(line) }}
	_, _, err = Run(context.Background(), b, r, Options{Dir: dir, Progress: p})
	return errors.Join(err, b.Close())
}

// small is a recipe whose steps are done in a moment.
const small = `study: small
title: A small study
data: {source: builtin:fashion, size: 16, limit: {train: 60, val: 20, test: 20}}
defaults: {epochs: 1, batch: 20, lr: 4e-3}
steps:
  teacher: {kind: train, arch: cnn-plain, base: 2, seed: 5}
  student: {kind: distill, arch: cnn-dwpw, base: 2, teacher: teacher, temperature: 4, epochs: 2, rows: [{table: All}]}
  a: {kind: prune, from: student, mult: 0.5, rows: [{table: All}]}
  b: {kind: prune, from: student, rate: 0.8, rounds: [1, 2], rows: [{table: All}]}
  c: {kind: quantize, from: student, scheme: affine8, rows: [{table: All}]}
  d: {kind: train, arch: cnn-plain, base: 2, rows: [{table: All}]}
  figures: {kind: evaluate, from: [student, c]}
checks: [{name: never, step: c, at_least: {value: 1}}]
`

func parse(t *testing.T, text string) *Recipe {
	t.Helper()
	r, err := Parse("small.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// steps records which steps a study does, and which at the same time.
type steps struct {
	open   []string
	done   []string   // in this run
	beside [][]string // of each step that began, what was under way then, itself included
	told   func(line string)
}

func (p *steps) tell(line string) {
	if p.told != nil {
		p.told(line)
	}
}

func (p *steps) Begin(step string, _, _, _ int) {
	p.open = append(p.open, step)
	p.beside = append(p.beside, slices.Clone(p.open))
	p.tell("begin " + step)
}

func (p *steps) Advance(string, int, string) {}

func (p *steps) End(step, note string, cached bool) {
	p.open = slices.DeleteFunc(p.open, func(s string) bool { return s == step })
	if !cached && note != "stopped" && note != "failed" {
		p.done = append(p.done, step)
		p.tell("did " + step)
	}
}

func openBackend(threads int) (engine.Backend, error) { return cpu.New(cpu.Options{Threads: threads}) }

// models returns the content of all models' files in a study's folder, but for
// what is kept to resume a training, in which there are times.
func models(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "work", "*", "*.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, f := range files {
		if filepath.Base(f) == "last.safetensors" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, f)
		all[name] = string(text)
	}
	return all
}

// sameStudy compares what two studies came to in all that does not depend on
// the time: figures, and models byte for byte.
func sameStudy(t *testing.T, got *report.Results, dir string, want *report.Results, wantDir string) {
	t.Helper()
	sameFigures(t, got, want)
	a, b := models(t, dir), models(t, wantDir)
	if len(a) != len(b) || len(b) == 0 {
		t.Errorf("%d models, want %d", len(a), len(b))
	}
	for name, text := range b {
		if a[name] != text {
			t.Errorf("%s differs", name)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, claimsDir)); err != nil || len(left) != 0 {
		t.Errorf("claims left behind: %v, %v", left, err)
	}
}

// However many steps are done at a time, and by however many runs, each is done
// once, and a study comes to the same; what is timed is done alone.
func TestJobs(t *testing.T) {
	b, whole := backend(t), t.TempDir()
	want, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: whole, Seeds: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ runs, jobs int }{{1, 3}, {2, 2}} {
		t.Run(fmt.Sprintf("%d runs of %d", c.runs, c.jobs), func(t *testing.T) {
			dir := t.TempDir()
			all := make([]*steps, c.runs)
			var group sync.WaitGroup
			for i := range all {
				all[i] = &steps{}
				b := backend(t) // as a process of its own has
				group.Go(func() {
					got, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: dir, Seeds: 2, Jobs: c.jobs, OpenBackend: openBackend, Progress: all[i]})
					if err != nil {
						t.Error(err)
					} else if i == 0 {
						sameFigures(t, got, want)
					}
				})
			}
			group.Wait()
			got, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: dir, Seeds: 2})
			if err != nil {
				t.Fatal(err)
			}
			sameStudy(t, got, dir, want, whole)
			var done []string
			most := 0
			for _, p := range all {
				done = append(done, p.done...)
				for _, s := range p.beside {
					most = max(most, len(s))
					if last := s[len(s)-1]; len(s) > 1 && slices.ContainsFunc(s, func(x string) bool { return strings.HasPrefix(x, "figures") && slices.Contains(p.done, last) }) {
						t.Errorf("at the same time: %q", s)
					}
				}
			}
			// Of each seed there are eight, and the teacher, which names its seed, is that of both.
			slices.Sort(done)
			if len(done) != 17 || len(slices.Compact(done)) != 17 {
				t.Errorf("done: %q", done)
			}
			if most != c.jobs {
				t.Errorf("up to %d steps at a time", most)
			}
		})
	}
	for jobs, want := range map[int]string{-1: "not -1", 2000: "not 2000", 2: "set OpenBackend"} {
		if _, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: whole, Jobs: jobs}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d jobs: %v", jobs, err)
		}
	}
}

// The threads are divided among the steps that can be done now.
func TestThreadsAreShared(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 6})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var mu sync.Mutex
	var opened []int
	open := func(threads int) (engine.Backend, error) {
		mu.Lock()
		opened = append(opened, threads)
		mu.Unlock()
		return openBackend(1)
	}
	text := strings.Replace(small, ", from: student, mult", ", from: teacher, mult", 1)
	text = text[:strings.Index(text, "  b:")] + text[strings.Index(text, "  d:"):strings.Index(text, "  figures")]
	if _, _, err := Run(t.Context(), b, parse(t, text), Options{Dir: t.TempDir(), Jobs: 2, OpenBackend: open}); err != nil {
		t.Fatal(err)
	}
	// teacher and d at first; then what is left, of which two can be done.
	if len(opened) != 4 || opened[0] != 3 || opened[1] != 3 || slices.Max(opened) > 6 || slices.Min(opened) < 3 {
		t.Errorf("threads %v", opened)
	}
	opened = nil
	if _, err := Make(t.Context(), b, parse(t, text), Options{Dir: t.TempDir(), Share: 3, OpenBackend: open}, []string{"d"}); err != nil || !slices.Equal(opened, []int{2}) {
		t.Errorf("as one of three processes: threads %v, %v", opened, err)
	}
}

// A step that another process has claimed is left to it: the others are done
// meanwhile, and then it is waited for.
func TestClaimedStep(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	r := parse(t, small)
	if _, _, err := Run(t.Context(), b, r, Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob(filepath.Join(dir, "work", "a-*"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	for _, name := range []string{"a-*", "c-*", "figures.c-*"} { // as if they were not done
		found, _ := filepath.Glob(filepath.Join(dir, "work", name, outcomeFile))
		if len(found) != 1 || os.Remove(found[0]) != nil {
			t.Fatal(found)
		}
	}
	other, err := claim.Open(filepath.Join(dir, claimsDir))
	if err != nil {
		t.Fatal(err)
	}
	held, err := other.Try(filepath.Base(all[0]), false)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	freed := false
	p := &steps{}
	p.told = func(line string) {
		if line == "did c" { // what is timed waits for all that runs on the machine
			time.AfterFunc(100*time.Millisecond, func() {
				freed = true
				if err := held.Free(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if _, _, err := Run(t.Context(), b, r, Options{Dir: dir, Progress: p, Logger: slog.New(slog.NewTextHandler(&logged, nil))}); err != nil {
		t.Fatal(err)
	}
	if !freed || !slices.Equal(p.done, []string{"c", "figures.c", "a"}) {
		t.Errorf("did %q", p.done)
	}
	if want := fmt.Sprintf("waiting with step figures.c for process %d on ", os.Getpid()); !strings.Contains(logged.String(), want) {
		t.Errorf("not said: %s\n%s", want, logged.String())
	}
}

// Where nothing else is to be done, a run says which step it waits for, and can
// be stopped.
func TestWaiting(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	other, err := claim.Open(filepath.Join(dir, claimsDir))
	if err != nil {
		t.Fatal(err)
	}
	r := parse(t, small[:strings.Index(small, "  student:")]+"checks: []\n")
	p := &steps{told: func(string) { t.Error("a step was begun") }}
	machine, err := other.Try("timing-x", true) // another run times something here
	if err != nil {
		t.Fatal(err)
	}
	wait := func(want string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var logged string
		log := slog.New(slog.NewTextHandler(writer(func(text []byte) { logged += string(text); cancel() }), nil))
		_, _, err := Run(ctx, b, r, Options{Dir: dir, Logger: log, Progress: p})
		var stopped *InterruptedError
		if !errors.As(err, &stopped) || stopped.Step != "teacher" || stopped.Done != 0 || stopped.Total != 1 || !strings.Contains(logged, want) {
			t.Errorf("error %v, logged %s", err, logged)
		}
	}
	wait(fmt.Sprintf("waiting with step teacher while process %d on", os.Getpid()))
	if err := machine.Done(); err != nil {
		t.Fatal(err)
	}
	p.told = nil
	ctx, cancel := context.WithCancel(t.Context())
	p.told = func(string) { cancel() }
	if _, _, err := Run(ctx, b, r, Options{Dir: dir, Progress: p}); !errors.Is(err, context.Canceled) { // for the step's folder
		t.Fatal(err)
	}
	p.told = func(string) { t.Error("a step was begun") }
	all, _ := filepath.Glob(filepath.Join(dir, "work", "teacher-*"))
	if len(all) != 1 {
		t.Fatal(all)
	}
	if _, err := other.Try(filepath.Base(all[0]), false); err != nil {
		t.Fatal(err)
	}
	wait(fmt.Sprintf("waiting for step teacher, which process %d on", os.Getpid()))
}

type writer func(text []byte)

func (w writer) Write(text []byte) (int, error) { w(text); return len(text), nil }

// Of two processes that run a study together one is killed: the other takes its
// step over and finishes the study.
func TestKilledProcess(t *testing.T) {
	b, whole, dir := backend(t), t.TempDir(), t.TempDir()
	want, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: whole})
	if err != nil {
		t.Fatal(err)
	}
	start := func() (*exec.Cmd, *lines) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperDir+"="+dir)
		out := &lines{more: make(chan string, 100)}
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // where the test fails
		return cmd, out
	}
	first, out := start()
	if line := <-out.more; line != "begin teacher" {
		t.Fatal(line)
	}
	second, rest := start()
	for line := range out.more {
		if line == "begin student" || line == "begin d" { // the teacher is done
			break
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	if err := second.Wait(); err != nil {
		t.Fatal(err, rest)
	}
	p := &steps{}
	got, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: dir, Progress: p})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.done) > 2 { // measurements of another number of threads
		t.Errorf("still to do: %q", p.done)
	}
	sameStudy(t, got, dir, want, whole)
}

// Lines are what a process has written.
type lines struct {
	text string
	more chan string // is never full
}

func (l *lines) Write(text []byte) (int, error) {
	l.text += string(text)
	for line := range strings.Lines(string(text)) {
		l.more <- strings.TrimSpace(line)
	}
	return len(text), nil
}

// When one of several steps fails, the others are stopped, to be resumed; the
// error names the step that failed.
func TestFailureBesideOthers(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	long := strings.Replace(small, "base: 2, rows: [{table: All}]}\n  figures", "base: 2, epochs: 200}\n  figures", 1)
	if long == small {
		t.Fatal("the recipe has changed")
	}
	bad := strings.Replace(long, "arch: cnn-plain, base: 2, seed: 5", "arch: cnn-plain, base: 2, seed: 5, lr: 1e30", 1)
	p := &steps{}
	o := Options{Dir: dir, Jobs: 2, OpenBackend: openBackend, Progress: p}
	_, _, err := Run(t.Context(), b, parse(t, bad), o)
	if err == nil || !strings.HasPrefix(err.Error(), "step teacher: ") || strings.Contains(err.Error(), "\n") || len(p.done) != 0 || len(p.open) != 0 {
		t.Fatalf("error %v, done %q, under way %q", err, p.done, p.open)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "work", "d-*", "last.safetensors")); err != nil || len(left) != 1 {
		t.Errorf("of the step that was stopped there is %v", left)
	}

	// Stopping takes both that are under way.
	ctx, cancel := context.WithCancel(t.Context())
	p = &steps{}
	p.told = func(line string) {
		if line == "begin student" {
			cancel()
		}
	}
	o.Progress = p
	var stopped *InterruptedError
	if _, _, err = Run(ctx, b, parse(t, long), o); !errors.As(err, &stopped) || stopped.Done != 1 || !strings.Contains(err.Error(), "in step student and in step d, after 1 of 9") {
		t.Fatalf("error %v, done %q", err, p.done)
	}
}
