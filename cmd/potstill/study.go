package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// studyCmd is potstill study.
type studyCmd struct {
	Run  studyRunCmd  `cmd:"" help:"Run a study, or resume it."`
	List studyListCmd `cmd:"" help:"List the built-in recipes."`
	Show studyShowCmd `cmd:"" help:"Print a recipe."`
}

// recipe returns the built-in recipe of that name, or the one in the file.
func recipe(name string) (*study.Recipe, error) {
	if slices.Contains(study.BuiltinNames(), name) {
		base, quick := strings.CutSuffix(name, study.QuickSuffix)
		return study.Builtin(base, quick)
	}
	return study.Load(name)
}

// studyRunCmd is potstill study run.
type studyRunCmd struct {
	Recipe string `arg:"" optional:"" default:"hw7" help:"hw7, hw7-quick, or a recipe's file."`

	Data   string  `placeholder:"PATH" help:"A folder of images, a tar of one, or builtin:fashion, instead of the recipe's."`
	Size   int     `placeholder:"N" help:"Height and width that the nets see."`
	Epochs int     `placeholder:"N" help:"Epochs of every training; fine-tuning takes no more than that."`
	Batch  int     `placeholder:"N" help:"Images a step."`
	LR     float64 `name:"lr" placeholder:"LR" help:"Learning rate."`
	Seed   *uint64 `placeholder:"N" help:"Seed of every step that names none."`
	Seeds  int     `placeholder:"N" help:"Run the study with N seeds, this one and those after it, and report means, spread and paired differences; the recipe's if not given, else one."`
	Quick  bool    `help:"The quick form of a built-in recipe."`
	Strict bool    `help:"Stop at a picture that cannot be decoded, instead of leaving it out, and exit with status 1 if a check fails."`
	EXIF   bool    `name:"exif" help:"Turn pictures as their EXIF orientation says. Without it that is ignored, as torchvision ignores it: give it to train, eval and predict, or to none."`
	Cache  string  `placeholder:"DIR" env:"POTSTILL_CACHE" help:"Where decoded images are kept; else the user's cache folder."`
	Out    string  `placeholder:"DIR" help:"Folder for the report and the steps' work; out/NAME if not given."`
	Resume bool    `help:"Insist on going on: an error if nothing has been begun. Finished steps are never done again in any case."`
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (studyRunCmd) Help() string {
	return `Steps that are done are not done again: stop a study at any point and give the same command to resume it. The
report is DIR/report.html, the figures are in DIR/results.json; --json prints the latter.

Example:

    potstill study run hw7-quick --out out/demo
    potstill study run hw7-quick --out out/demo --seeds 3
    potstill study run hw7 --data food11 --size 256 --out out/hw7`
}

// Run runs the study.
func (c *studyRunCmd) Run(a *app) error {
	r, err := recipe(c.Recipe)
	if err != nil {
		return err
	}
	if c.Out == "" {
		name := strings.TrimSuffix(filepath.Base(c.Recipe), filepath.Ext(c.Recipe))
		c.Out = filepath.Join("out", name)
	}
	if c.Resume {
		if ok, err := exists(filepath.Join(c.Out, "work")); err != nil || !ok {
			return fmt.Errorf("resume: no study has been begun in %s; start without --resume", c.Out)
		}
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		p := &studyProgress{console: a.console}
		res, paths, err := study.Run(a.ctx, b, r, study.Options{
			Dir: c.Out, Data: c.Data, Size: c.Size, Epochs: c.Epochs, Batch: c.Batch, LR: c.LR, Seed: c.Seed, Seeds: c.Seeds, Quick: c.Quick,
			Open:   data.Options{Strict: c.Strict, EXIF: c.EXIF, CacheDir: c.Cache},
			Logger: a.log, Progress: p, Version: theVersion(), Command: commandLine(a.args),
		})
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
	words := []string{"potstill"}
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$`*?[](){}<>|&;#~!") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// studyProgress shows a study's progress on the console.
type studyProgress struct {
	console *console
	label   string
	total   int
}

// Begin implements study.Progress.
func (p *studyProgress) Begin(step string, i, n, total int) {
	p.label, p.total = fmt.Sprintf("[%d/%d] %s", i, n, step), total
	p.console.begin(p.label, total)
}

// Advance implements study.Progress.
func (p *studyProgress) Advance(_ string, done int, note string) {
	p.console.advance(done, p.total, note)
}

// End implements study.Progress.
func (p *studyProgress) End(_ string, note string, cached bool) {
	p.console.end()
	if cached {
		note += " (done before)"
	}
	p.console.line(p.label + ": " + note)
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

// studyListCmd is potstill study list.
type studyListCmd struct{ jsonFlag }

// Help is printed below the flags' summary.
func (studyListCmd) Help() string {
	return `Example:

    potstill study list`
}

// A studyInfo is a built-in recipe.
type studyInfo struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Steps int    `json:"steps"`
	Data  string `json:"data"` // "" where the user must name them
}

// Run lists the recipes.
func (c *studyListCmd) Run(a *app) error {
	var list []studyInfo
	rows := [][]string{{"name", "steps", "data", "title"}}
	for _, name := range study.BuiltinNames() {
		r, err := recipe(name)
		if err != nil {
			return err
		}
		i := studyInfo{Name: name, Title: r.Title, Steps: len(r.Steps), Data: r.Data.Source}
		list = append(list, i)
		if i.Data == "" {
			i.Data = "(--data)"
		}
		rows = append(rows, []string{i.Name, strconv.Itoa(i.Steps), i.Data, i.Title})
	}
	if c.JSON {
		return printJSON(a.out, list)
	}
	return table(a.out, rows)
}

// studyShowCmd is potstill study show.
type studyShowCmd struct {
	Name string `arg:"" name:"recipe" help:"hw7, hw7-quick, or a recipe's file."`
}

// Help is printed below the flags' summary.
func (studyShowCmd) Help() string {
	return `A recipe of your own starts best from a built-in one.

Example:

    potstill study show hw7-quick > mine.yaml`
}

// Run prints the recipe.
func (c *studyShowCmd) Run(a *app) error {
	r, err := recipe(c.Name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.out, r.Text())
	return err
}
