package main

import (
	"cmp"
	"fmt"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
)

// A comparison is the JSON form of distill --compare.
type comparison struct {
	Epochs int         `json:"epochs"` // of each pilot
	Pilots []fit.Pilot `json:"pilots"` // the first without a teacher
}

// compare runs the pilots, prints what they have come to, and warns of those that
// are worse than no teacher.
func (c *distillCmd) compare(a *app, b engine.Backend, j fit.Job) error {
	j.Config.Epochs = cmp.Or(c.PilotEpochs, max(1, j.Config.Epochs/10))
	j.Logger = a.log
	specs := distill.SplitSpecs(c.Compare)
	pilots, err := fit.Compare(a.ctx, b, j, specs, c.PilotSeeds, func(p fit.Pilot) {
		a.console.line(fmt.Sprintf("%s: %.2f %%", cmp.Or(p.Method, noTeacher), 100*p.Accuracy.Mean))
	})
	if err != nil {
		return err
	}
	for _, p := range pilots {
		if p.Below() {
			a.log.Warn(fmt.Sprintf("%s is worse than no teacher after %d epochs; choose another method, or a smaller weight", p.Method, j.Config.Epochs))
		}
	}
	if c.JSON {
		return printJSON(a.out, comparison{j.Config.Epochs, pilots})
	}
	rows := [][]string{{"loss", "validation accuracy", "gain over no teacher"}}
	for _, p := range pilots {
		gain := "-"
		if p.Method != "" {
			gain = fmt.Sprintf("%+.2f ± %.2f points", 100*p.Gain.Mean, 100*p.Gain.SD)
		}
		rows = append(rows, []string{cmp.Or(p.Method, noTeacher), fmt.Sprintf("%.2f ± %.2f %%", 100*p.Accuracy.Mean, 100*p.Accuracy.SD), gain})
	}
	return table(a.out, rows)
}

const noTeacher = "no teacher"
