package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/distill/study/script"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// studyFlags are what a study's recipe does not say, or what is to be otherwise.
type studyFlags struct {
	Data   string  `placeholder:"PATH" help:"A folder of images, a tar or zip archive of one, or builtin:fashion, instead of the recipe's."`
	Size   int     `placeholder:"N" help:"Height and width that the nets see."`
	Epochs int     `placeholder:"N" help:"Epochs of every training; fine-tuning takes no more than that."`
	Batch  int     `placeholder:"N" help:"Images a step."`
	LR     float64 `name:"lr" placeholder:"LR" help:"Learning rate."`
	Seed   *uint64 `placeholder:"N" help:"Seed of every step that names none."`
	Seeds  int     `placeholder:"N" help:"Run the study with N seeds, this one and those after it, and report means, spread and paired differences; the recipe's if not given, else one."`
	Quick  bool    `help:"The quick form of a built-in recipe."`
	Strict bool    `help:"Stop at a picture that cannot be decoded, instead of leaving it out; where there is a report, exit with status 1 if a check fails."`
	EXIF   bool    `name:"exif" help:"Turn pictures as their EXIF orientation says. Without it that is ignored, as torchvision ignores it: give it to train, eval and predict, or to none."`
	Cache  string  `placeholder:"DIR" env:"POTSTILL_CACHE" help:"Where decoded images are kept; else the user's cache folder."`
	deviceFlags
}

// studyRunFlags are those of commands that do a study's steps.
type studyRunFlags struct {
	Jobs   int    `default:"1" placeholder:"N" help:"Steps to do at a time. They share the processor's threads; what is timed runs alone. Results do not depend on it."`
	Share  int    `default:"1" placeholder:"N" help:"Take an Nth of the processor's threads, for N processes that work on the study on this machine; what is timed takes all."`
	Out    string `placeholder:"DIR" help:"Folder for the report and the steps' work; out/NAME if not given."`
	Expect string `placeholder:"SHA256" help:"Refuse a recipe whose text has another SHA-256: study export gives it."`
}

// options are those of a study.
func (f studyFlags) options(a *app, run studyRunFlags, recipe string, b engine.Backend) (study.Options, error) {
	if run.Jobs < 1 {
		return study.Options{}, fmt.Errorf("--jobs %d: give the number of steps to do at a time, 1 or more", run.Jobs)
	}
	if run.Share < 1 {
		return study.Options{}, fmt.Errorf("--share %d: give the number of processes that divide the threads, 1 or more", run.Share)
	}
	return study.Options{
		Dir: studyDir(run.Out, recipe), Data: f.Data, Size: f.Size, Epochs: f.Epochs, Batch: f.Batch, LR: f.LR, Seed: f.Seed, Seeds: f.Seeds,
		Quick: f.Quick, Expect: run.Expect,
		Jobs: run.Jobs, Share: run.Share, OpenBackend: func(threads int) (engine.Backend, error) { return f.another(a, b, threads) },
		Open:   data.Options{Strict: f.Strict, EXIF: f.EXIF, CacheDir: f.Cache, Progress: a.reading("the images")},
		Logger: a.log, Progress: &studyProgress{console: a.console}, Version: theVersion(), Command: commandLine(a.args),
	}, nil
}

// studyDir is the folder of a study that names none.
func studyDir(dir, recipe string) string {
	return cmp.Or(dir, filepath.Join("out", strings.TrimSuffix(filepath.Base(recipe), filepath.Ext(recipe))))
}

// studyRunCmd is potstill study run.
type studyRunCmd struct {
	Recipe string `arg:"" optional:"" default:"hw7" help:"hw7, hw7-quick, or a recipe's file."`

	studyFlags
	studyRunFlags
	Resume bool `help:"Require a study that has been begun: without one it is an error. Finished steps are never done again, with or without it."`
	jsonFlag
}

// Help is printed below the flags' summary.
func (studyRunCmd) Help() string {
	return `Steps that are done are not done again: stop a study at any point and give the same command to resume it. The
report is DIR/report.html, the figures are in DIR/results.json; --json prints the latter.

Several processes, on one machine or on several that share DIR, may run the same study at the same time: each step is
done by one of them, and what a process that dies leaves undone is taken over by another.

Examples:

    potstill study run hw7-quick --out out/demo
    potstill study run hw7-quick --out out/demo --jobs 2
    potstill study run hw7-quick --out out/demo --seeds 3
    potstill study run hw7 --data food11 --size 256 --out out/hw7`
}

// Run runs the study.
func (c *studyRunCmd) Run(a *app) error {
	r, err := recipe(c.Recipe)
	if err != nil {
		return err
	}
	if c.Resume {
		dir := studyDir(c.Out, c.Recipe)
		if ok, err := exists(filepath.Join(dir, "work")); err != nil || !ok {
			return fmt.Errorf("resume: no study has been begun in %s; start without --resume", dir)
		}
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		o, err := c.options(a, c.studyRunFlags, c.Recipe, b)
		if err != nil {
			return err
		}
		res, paths, err := study.Run(a.ctx, b, r, o)
		a.console.end()
		if err != nil {
			return err
		}
		if c.JSON {
			err = copyFile(a.out, paths.JSON)
		} else {
			err = printResults(a.out, res, paths)
		}
		if err != nil || !c.Strict {
			return err
		}
		return failedChecks(res.Checks, paths.HTML)
	})
}

// failedChecks is the error of a study some of whose checks have failed, nil if
// none has.
func failedChecks(checks []report.Check, path string) error {
	var failed []string
	for _, c := range checks {
		if !c.Pass {
			failed = append(failed, fmt.Sprintf("%s: %s (wanted: %s)", c.Name, c.Got, c.Want))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks failed (--strict): %s; the report is %s", len(failed), len(checks), strings.Join(failed, "; "), path)
}

// copyFile writes a file's content to w.
func copyFile(w io.Writer, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// commandLine is the command that repeats this one, for a shell.
func commandLine(args []string) string {
	return script.Words(append([]string{"potstill"}, args...))
}

// printResults prints the tables of a study and where its report is.
func printResults(w io.Writer, r *report.Results, paths report.Paths) error {
	for _, t := range r.Tables() {
		t.Notes = nil // they are in the report
		if err := report.WriteTable(w, t); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if t := r.DifferencesTable(); len(t.Rows) > 0 {
		if err := report.WriteTable(w, t); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if len(r.Rows) > 0 {
		fmt.Fprintf(w, "%s\n\n", r.AccuracyNote())
	}
	for _, c := range r.Checks {
		mark := "ok    "
		if !c.Pass {
			mark = "FAILED"
		}
		fmt.Fprintf(w, "%s  %s: %s (wanted: %s)\n", mark, c.Name, c.Got, c.Want)
	}
	_, err := fmt.Fprintf(w, "\nfigures: %s\nreport:  %s\n", paths.JSON, paths.HTML)
	return err
}
