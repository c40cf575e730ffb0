package main

import (
	"cmp"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
)

// lrFindCmd is potstill lr-find.
type lrFindCmd struct {
	Arch string `default:"cnn-dwpw" help:"Family of the net (potstill summary --help lists them), or a YAML file of a net of your own."`
	archFlags
	initFlags
	dataFlags
	From   float64 `default:"1e-6" help:"The first learning rate."`
	To     float64 `default:"1" help:"The last learning rate."`
	Steps  int     `default:"100" help:"Steps from one to the other."`
	Points bool    `help:"Print the losses of all steps."`
	runFlags
	imageFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (lrFindCmd) Help() string {
	return `Trains for a few steps with a learning rate that rises from each to the next, and names the rate at which the
loss falls fastest (Smith's range test). Take the flags of the training that is to follow; nothing is written.

Example:

    potstill lr-find --arch cnn-dwpw --data food11 --size 128 --optimizer sgd --momentum 0.9`
}

// AfterApply refuses flags without effect.
func (c *lrFindCmd) AfterApply(k *kong.Context) error {
	set := flagsOf(k)
	return cmp.Or(
		set.without("here, where --from, --to and --steps say it", "lr", "epochs", "schedule", "warmup", "warmup-epochs", "step-size", "gamma", "min-lr", "max-lr"),
		set.without("in so few steps", "ema", "patience"),
		c.runFlags.check(set), c.imageFlags.check(set), c.initFlags.check(set))
}

// An lrFound is the JSON form of the result.
type lrFound struct {
	Steepest float64       `json:"steepest"`
	Lowest   float64       `json:"lowest"`
	Diverged bool          `json:"diverged"`
	Points   []fit.LRPoint `json:"points"`
}

// Run searches.
func (c *lrFindCmd) Run(a *app) error {
	r := fit.LRRange{From: c.From, To: c.To, Steps: c.Steps}
	if err := r.Validate(); err != nil {
		return err
	}
	start, err := c.initFlags.load(a)
	if err != nil {
		return err
	}
	net, err := netToTrain(c.Arch, c.archFlags, start, anyClasses)
	if err != nil {
		return err
	}
	p, err := c.imageFlags.preprocess(c.dataFlags, net, start, nil)
	if err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return c.dataFlags.resized(c.commonResize(p)).with(a, func(ds *data.Dataset) error {
			j, err := outFlags{}.jobOf(ds, c.Arch, c.archFlags, c.initFlags, start, c.runFlags, c.imageFlags, p)
			if err != nil {
				return err
			}
			j.Logger = a.log
			a.console.begin("searching", c.Steps)
			j.Step = func(s train.StepInfo) {
				a.console.advance(s.Update, c.Steps, fmt.Sprintf("learning rate %.2g, loss %.4f", s.LR, s.Loss))
			}
			f, err := fit.FindLR(a.ctx, b, j, r)
			a.console.end()
			if err != nil {
				return err
			}
			return c.print(a, f)
		})
	})
}

func (c *lrFindCmd) print(a *app, f *fit.LRFinding) error {
	if c.JSON {
		return printJSON(a.out, lrFound{f.Steepest, f.Lowest, f.Diverged, f.Points})
	}
	if c.Points {
		rows := [][]string{{"learning rate", "loss", "averaged"}}
		for _, p := range f.Points {
			rows = append(rows, []string{fmt.Sprintf("%.3g", p.LR), fmt.Sprintf("%.4f", p.Loss), fmt.Sprintf("%.4f", p.Smooth)})
		}
		if err := table(a.out, rows); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
	}
	ended := "the loss did not diverge: a wider range might find more"
	if f.Diverged {
		ended = fmt.Sprintf("the loss diverged after %.2g", f.Points[len(f.Points)-1].LR)
	}
	return table(a.out, [][]string{
		{"steepest fall", fmt.Sprintf("%.2g", f.Steepest), "a rate to train with (--lr)"},
		{"lowest loss", fmt.Sprintf("%.2g", f.Lowest), "a tenth of it is another"},
		{"", "", ended},
	})
}
