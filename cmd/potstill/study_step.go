package main

import (
	"fmt"
	"strconv"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/engine"
)

// studyStepCmd is potstill study step.
type studyStepCmd struct {
	Recipe string   `arg:"" help:"hw7, hw7-quick, or a recipe's file."`
	Steps  []string `arg:"" name:"step" help:"The steps to do, by their names in the recipe."`

	studyFlags
	studyRunFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (studyStepCmd) Help() string {
	return `Does single steps of a study, in the folder of the study and with the flags of study run: what they need must have been
done there before. What a step comes to is the same as in study run, which finds it done and makes the report. Another
process may do other steps at the same time.

Examples:

    potstill study step mine.yaml teacher
    potstill study step mine.yaml student pruned --jobs 2 --seed 2 --seeds 1`
}

// Run does the steps.
func (c *studyStepCmd) Run(a *app) error {
	r, err := recipe(c.Recipe)
	if err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		o, err := c.options(a, c.studyRunFlags, c.Recipe, b)
		if err != nil {
			return err
		}
		made, err := study.Make(a.ctx, b, r, o, c.Steps)
		a.console.end()
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.out, made)
		}
		rows := [][]string{{"step", "seed", "validation", "test", "bytes", "file"}}
		for _, m := range made {
			rows = append(rows, []string{m.Step, strconv.FormatUint(m.Seed, 10), share(m.ValAccuracy), share(m.TestAccuracy), whole(m.Bytes), m.File})
		}
		return table(a.out, rows)
	})
}

// share writes an accuracy, and "" where there is none.
func share(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100**x)
}

// whole writes a count, and "" for 0.
func whole(n int64) string {
	if n == 0 {
		return ""
	}
	return thousands(n)
}
