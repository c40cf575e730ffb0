package main

import (
	"fmt"
	"path/filepath"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/layers/checkpoint"
)

// besideFlags say what the net that was found is compared with.
type besideFlags struct {
	Beside  []string `sep:"none" placeholder:"FILE" help:"A net that the one that was found is compared with, image by image, as one made by prune and quantize; may be given several times."`
	NoPlain bool     `help:"Leave out the plain recipe at the same budget, which cuts every width alike and is trained as long: it takes as long as the last training does."`
}

// load reads the nets; images of those that do not say otherwise are prepared by p.
func (f besideFlags) load(a *app, p checkpoint.Preprocess) ([]*checkpoint.Checkpoint, error) {
	var all []*checkpoint.Checkpoint
	for _, file := range f.Beside {
		c, err := loadModel(a, file, foreignFlags{}, imageSize{})
		if err != nil {
			return nil, fmt.Errorf("--beside: %w", err)
		}
		if !c.Declares() {
			c.Preprocess = p
		}
		all = append(all, c)
	}
	return all, nil
}

// A shrinkAccount is what the report of a search is made from.
type shrinkAccount struct {
	env      compress.Env
	start    *checkpoint.Checkpoint
	teachers []*checkpoint.Checkpoint
	beside   []*checkpoint.Checkpoint
	options  shrink.Options
}

// tell compares the net that was found with others, writes the report and prints it.
// The report is there before the plain recipe is made, and again after.
func (c *shrinkCmd) tell(a *app, s shrinkAccount, out *shrink.Outcome) error {
	acc, err := shrink.NewAccount(a.ctx, s.env, s.start, s.teachers, s.options, out)
	if err != nil {
		return err
	}
	for i, other := range s.beside {
		if err := acc.Beside(a.ctx, filepath.Base(c.Beside[i]), other); err != nil {
			return err
		}
	}
	write := func() (*report.Shrink, report.Paths, error) {
		page, err := acc.Report(commandLine(a.args))
		if err != nil {
			return nil, report.Paths{}, err
		}
		paths, err := report.WriteShrink(s.env.Dir, page)
		return page, paths, err
	}
	page, paths, err := write()
	if err != nil {
		return err
	}
	if !c.NoPlain {
		if err := acc.BesidePlain(a.ctx, s.start, s.teachers); err != nil {
			return err
		}
		if page, paths, err = write(); err != nil {
			return err
		}
	}
	if c.JSON {
		err = copyFile(a.out, paths.JSON)
	} else {
		err = printShrink(a, page, paths)
	}
	if err != nil {
		return err
	}
	for _, check := range page.Checks() {
		if !check.Pass {
			return fmt.Errorf("%s is not under %s: %s, %s", out.Path, page.Budget, check.Name, check.Got)
		}
	}
	return nil
}

// printShrink prints what a search has come to.
func printShrink(a *app, page *report.Shrink, paths report.Paths) error {
	for _, t := range page.Tables() {
		if err := report.WriteTable(a.out, t); err != nil {
			return err
		}
		if t.Caption != "" {
			fmt.Fprintf(a.out, "\n%s\n", t.Caption)
		}
		fmt.Fprintln(a.out)
	}
	for _, n := range page.Notes {
		fmt.Fprintf(a.out, "%s\n\n", n)
	}
	for _, check := range page.Checks() {
		mark := "met    "
		if !check.Pass {
			mark = "NOT MET"
		}
		fmt.Fprintf(a.out, "%s  %s: %s (%s)\n", mark, check.Name, check.Got, check.Want)
	}
	_, err := fmt.Fprintf(a.out, "\nmodel:   %s\nfigures: %s\nreport:  %s\n", page.File, paths.JSON, paths.HTML)
	return err
}
