package script

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// example has two seeds of a step, one that both share, and odd names.
func example() *Script {
	return &Script{
		Study: "odd $tudy", Recipe: `it's "odd"\`, Dir: "/a b", Program: `/o'd#d\#$x`, Logs: "out %/logs",
		Jobs: []Job{
			{Step: "t", Args: []string{"step", "$HOME", "a#b"}},
			{Step: "s", Seed: "1", Args: []string{"step", "s 1"}, Needs: []int{0}},
			{Step: "s", Seed: "2", Args: []string{"step", "s 2"}, Needs: []int{0}},
			{Step: "f", Args: []string{"step", "f"}, Needs: []int{0, 1}, Alone: true},
		},
		Report: []string{"run", "ü"},
	}
}

func TestMake(t *testing.T) {
	text, err := example().Make()
	if err != nil {
		t.Fatal(err)
	}
	want := Mark + `
# The study "odd $tudy", of the recipe "it's \"odd\"\\": make -j2 -f FILE does all steps, some at a time, and the report; make -f FILE step.NAME does
# one with what it needs. Nothing is done twice, here or elsewhere.

POTSTILL ?= '/o'\''d\#d\\\#$$x'

.PHONY: report step.t step.s.1 step.s.2 step.f step.s

report: step.s.2 step.f
	cd '/a b' && $(POTSTILL) run 'ü'

step.t:
	cd '/a b' && $(POTSTILL) step '$$HOME' 'a#b'

step.s.1: step.t
	cd '/a b' && $(POTSTILL) step 's 1'

step.s.2: step.t
	cd '/a b' && $(POTSTILL) step 's 2'

step.f: step.t step.s.1
	cd '/a b' && $(POTSTILL) step f

step.s: step.s.1 step.s.2
`
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

func TestSlurm(t *testing.T) {
	text, err := example().Slurm()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"#!/usr/bin/env bash\n" + Mark + "\n",
		"submit t \"\" 'step '\\''$HOME'\\'' '\\''a#b'\\'''\njob0=$id\n",
		"submit s.2 \"$job0\" 'step '\\''s 2'\\'''\njob2=$id\n",
		"submit f \"$job0:$job1\" 'step f' --exclusive\n",
		"submit report \"$job2:$job3\" 'run '\\''ü'\\''' --exclusive\n",
		"'--output=out %%/logs/'\"$name\"-%j.log",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the script lacks %q:\n%s", want, text)
		}
	}
}

// What make and a shell make of odd words is the words.
func TestOddWords(t *testing.T) {
	for _, program := range []string{"make", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	odd := `o'd"d # $(x) $HOME \ \# : % ü*?~!&;|<> {a,b} [c] =` + "`"
	dir := filepath.Join(t.TempDir(), strings.ReplaceAll(odd, "/", ""))
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Skip("no folder of that name here:", err)
	}
	tool := filepath.Join(dir, "tool $1#")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nfor a; do echo \"<$a>\"; done >> \"$PWD/said\"\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := &Script{Study: odd, Recipe: odd, Dir: dir, Program: tool, Logs: "logs " + odd[:40],
		Jobs: []Job{{Step: "a", Args: []string{odd, ""}}, {Step: "b", Args: []string{"b " + odd}, Needs: []int{0}}}, Report: []string{"r " + odd}}
	said := func() []string {
		text, err := os.ReadFile(filepath.Join(dir, "said"))
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(dir, "said"))
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	want := []string{"<" + odd + ">", "<>", "<b " + odd + ">", "<r " + odd + ">"}

	text, err := s.Make()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mk")
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("make", "-j3", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("make ran %q, want %q", got, want)
	}

	text, err = s.Slurm()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	run := "#!/bin/sh\nfor a; do case $a in --wrap=*) sh -c \"${a#--wrap=}\" || exit;; esac; done\necho 7\n"
	if err := os.WriteFile(filepath.Join(bin, "sbatch"), []byte(run), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-s")
	cmd.Stdin = strings.NewReader(string(text))
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("jobs ran %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, s.Logs)); err != nil {
		t.Error(err)
	}
}

func TestNotWritten(t *testing.T) {
	for want, change := range map[string]func(s *Script){
		"control character": func(s *Script) { s.Jobs[1].Args[0] = "a\nb" },
		`"a\x7fb" has`:      func(s *Script) { s.Report[0] = "a\x7fb" },
		"absolute path":     func(s *Script) { s.Dir = "here" },
	} {
		s := example()
		change(s)
		for _, f := range []func() ([]byte, error){s.Make, s.Slurm} {
			if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
}
