package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/distill/study/script"
	"github.com/potstill/potstill/engine/atomicfile"
)

// studyExportCmd is potstill study export.
type studyExportCmd struct {
	Recipe string `arg:"" help:"hw7, hw7-quick, or a recipe's file."`

	To   string `required:"" enum:"make,slurm" placeholder:"make|slurm" help:"make: a makefile for GNU make. slurm: a script for bash that submits a job for each step."`
	Out  string `placeholder:"FILE" help:"Where it is written; standard output if not given."`
	Jobs int    `default:"1" placeholder:"N" help:"How many steps make is to do at a time: each takes an Nth of the processor's threads, but for what is timed."`
	Dir  string `placeholder:"DIR" help:"The study's folder, which is --out of study run; out/NAME if not given."`
	studyFlags

	given []string // flags, which the steps are given too
}

// Help is printed below the flags' summary.
func (studyExportCmd) Help() string {
	return `Writes the steps of a study and what each needs, for programs that know how to run commands: every step is one
potstill study step, and the last command is potstill study run, which makes the report. Flags of study run are given to all of
them. The commands run in the folder in which the study is exported, and refuse a recipe that has changed since.

Examples:

    potstill study export mine.yaml --to make --jobs 4 --out mine.mk && make -j4 -f mine.mk
    potstill study export mine.yaml --to slurm --seeds 3 --out mine.sh && bash mine.sh --partition=main --cpus-per-task=8`
}

// notOfSteps lists flags that are not given to the steps as they are.
var notOfSteps = []string{"to", "out", "dir", "jobs", "seed", "seeds"}

// AfterApply keeps the flags that are given.
func (c *studyExportCmd) AfterApply(k *kong.Context) error {
	for _, p := range k.Path {
		if p.Flag == nil || slices.Contains(notOfSteps, p.Flag.Name) || p.Flag.Name == "help" {
			continue
		}
		v := reflect.Indirect(p.Flag.Target)
		word := fmt.Sprintf("--%s=%v", p.Flag.Name, v.Interface())
		if v.Kind() == reflect.Bool {
			if word = "--" + p.Flag.Name; !v.Bool() {
				continue
			}
		}
		if !slices.Contains(c.given, word) {
			c.given = append(c.given, word)
		}
	}
	return nil
}

// Run writes the script.
func (c *studyExportCmd) Run(a *app) error {
	switch {
	case c.Jobs < 1:
		return fmt.Errorf("--jobs %d: give the number of steps that make does at a time, 1 or more", c.Jobs)
	case c.Jobs > 1 && c.To == "slurm":
		return errors.New("--jobs is for make; Slurm gives each job the processors that --cpus-per-task asks for")
	}
	s, err := c.script()
	if err != nil {
		return err
	}
	write, mode := s.Make, fs.FileMode(0o666)
	if c.To == "slurm" {
		write, mode = s.Slurm, 0o777
	}
	text, err := write()
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err := a.out.Write(text)
		return err
	}
	return writeScript(c.Out, text, mode)
}

// script returns the study's steps as commands.
func (c *studyExportCmd) script() (*script.Script, error) {
	r, err := recipe(c.Recipe)
	if err != nil {
		return nil, err
	}
	if r, err = r.Form(c.Quick); err != nil {
		return nil, err
	}
	tasks, err := r.Tasks(study.Options{Data: c.Data, Size: c.Size, Epochs: c.Epochs, Batch: c.Batch, LR: c.LR, Seed: c.Seed, Seeds: c.Seeds})
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir := studyDir(c.Dir, c.Recipe)
	s := &script.Script{Study: r.Study, Recipe: c.Recipe, Dir: here, Program: thisProgram(), Logs: filepath.Join(dir, "slurm")}
	common := append([]string{"--out=" + dir, "--expect=" + r.Digest()}, c.given...)
	s.Report = append([]string{"study", "run", argument(c.Recipe)}, common...)
	if c.Seed != nil {
		s.Report = append(s.Report, fmt.Sprintf("--seed=%d", *c.Seed))
	}
	if c.Seeds != 0 {
		s.Report = append(s.Report, fmt.Sprintf("--seeds=%d", c.Seeds))
	}
	several := slices.ContainsFunc(tasks, func(t study.Task) bool { return t.Seed != tasks[0].Seed })
	for _, t := range tasks {
		j := script.Job{Step: t.Step, Needs: t.Needs, Alone: t.Timed}
		j.Args = append([]string{"study", "step", argument(c.Recipe), t.Step}, common...)
		j.Args = append(j.Args, fmt.Sprintf("--seed=%d", t.Seed), "--seeds=1")
		if c.Jobs > 1 {
			j.Args = append(j.Args, fmt.Sprintf("--share=%d", c.Jobs))
		}
		if several && !t.All {
			j.Seed = strconv.FormatUint(t.Seed, 10)
		}
		s.Jobs = append(s.Jobs, j)
	}
	return s, nil
}

// argument is a path as an argument that is not taken for a flag.
func argument(path string) string {
	if strings.HasPrefix(path, "-") {
		return "." + string(filepath.Separator) + path
	}
	return path
}

// thisProgram is how this program can be started from anywhere.
func thisProgram() string {
	name := os.Args[0]
	if !strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	if path, err := filepath.Abs(name); err == nil {
		return path
	}
	return name
}

// writeScript writes a file, in place of one of an earlier export but of no other.
func writeScript(path string, text []byte, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("--out: %w; choose another file", err)
		}
	}()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder (the study's own is --dir)", path)
	case !info.Mode().IsRegular(): // a terminal, a pipe
		return os.WriteFile(path, text, mode)
	default:
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(old) > 0 && !bytes.Contains(old[:min(len(old), 200)], []byte(script.Mark)) {
			return fmt.Errorf("%s is there already and was not written by study export", path)
		}
	}
	return atomicfile.Write(path, text, mode)
}
