package shrink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers/checkpoint"
)

// An Account holds the net that a search has found to its budget and to other nets,
// and makes the report of it. The costs are those of files as they are written; the
// time is that of the program, timed as a whole, not the sum by the table. Accuracies
// are measured on the validation images, and, where the data have test images, on
// these, which the search has never seen.
type Account struct {
	env   compress.Env
	o     Options
	meter *budget.Meter
	page  *report.Shrink
	final []bool // what the final net gets right of the images that nets are compared on
}

// NewAccount measures the final net of a search, and the start net beside it. The
// folder of the environment is the search's; the options are those of Run.
func NewAccount(ctx context.Context, env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, o Options, out *Outcome) (*Account, error) {
	times, err := budget.OpenTable(filepath.Join(env.Dir, timesFile))
	if err != nil {
		return nil, err
	}
	a := &Account{env: env, o: o, meter: &budget.Meter{Backend: env.Backend, Limits: o.Under, Times: times, Log: env.Log}}
	a.page = &report.Shrink{
		Model: named(start), Data: env.Data.Name, Budget: o.Under.String(), File: out.Path, Device: env.Backend.Name(), Seed: o.Train.Seed,
		Seconds: out.Journal.Seconds, ValImages: env.Data.Val.Len(), TestImages: images(env.Data.Test),
	}
	for i, t := range teachers {
		if i > 0 {
			a.page.Teacher += ", "
		}
		a.page.Teacher += named(t)
	}
	for _, t := range out.Journal.Trials {
		if !t.Judged { // of a recipe that was repeated
			continue
		}
		a.page.Candidates = append(a.page.Candidates, report.ShrinkCandidate{
			Round: t.Round, Move: t.Text(), ShrinkCost: costOf(t.Cost), Accuracy: t.Accuracy, Accepted: t.Accepted, Fits: o.Under.Met(t.Cost),
		})
	}
	if err := a.layers(ctx, start, out.Best); err != nil {
		return nil, err
	}
	if err := a.Beside(ctx, "final net", out.Best); err != nil {
		return nil, err
	}
	a.limits()
	return a, a.Beside(ctx, "start net", start)
}

// named is a net's file, or its family.
func named(c *checkpoint.Checkpoint) string { return cmp.Or(c.Path, c.Net.String()) }

func images(s *data.Split) int {
	if s == nil {
		return 0
	}
	return s.Len()
}

func costOf(c budget.Cost) report.ShrinkCost {
	return report.ShrinkCost{Bytes: c.Bytes, Params: c.Params, MACs: c.MACs, RAM: c.RAM, MS: c.MS}
}

func (a *Account) layers(ctx context.Context, start, final *checkpoint.Checkpoint) error {
	all, err := a.meter.Layers(ctx, start.Net, final)
	for _, l := range all {
		a.page.Layers = append(a.page.Layers, report.ShrinkLayer(l))
	}
	return errors.Join(err, a.meter.Times.Save())
}

// limits says what the final net comes to of each limit.
func (a *Account) limits() {
	l, c := a.o.Under, a.page.Nets[0].ShrinkCost
	for _, x := range []report.ShrinkLimit{
		{Name: "bytes", Limit: float64(l.Bytes), Got: float64(c.Bytes)},
		{Name: fmt.Sprintf("ms for a batch of %d", max(l.Batch, 1)), Limit: l.MS, Got: c.MS},
		{Name: "parameters", Limit: float64(l.Params), Got: float64(c.Params)},
		{Name: "multiply-adds", Limit: float64(l.MACs), Got: float64(c.MACs)},
		{Name: "bytes of memory", Limit: float64(l.RAM), Got: float64(c.RAM)},
	} {
		if x.Limit > 0 {
			a.page.Limits = append(a.page.Limits, x)
		}
	}
}

// Beside measures another net, and compares the final net with it, image by image: on
// the test images, or where there are none on the validation images. Nets of other
// classes than the data's are an error.
func (a *Account) Beside(ctx context.Context, name string, c *checkpoint.Checkpoint) error {
	if err := matches(c, a.env.Data); err != nil {
		return err
	}
	cost, err := a.cost(ctx, c)
	if err != nil {
		return err
	}
	n := report.ShrinkNet{Name: name, ShrinkCost: costOf(cost)}
	right, share, err := a.right(ctx, c, a.env.Data.Val)
	if err != nil {
		return err
	}
	n.ValAccuracy = new(share)
	if images(a.env.Data.Test) > 0 {
		if right, share, err = a.right(ctx, c, a.env.Data.Test); err != nil {
			return err
		}
		n.TestAccuracy = new(share)
	}
	if a.final == nil {
		a.final = right
	} else {
		n.Beside = new(metrics.Pair(right, a.final))
	}
	a.page.Nets = append(a.page.Nets, n)
	return nil
}

// BesidePlain makes the plain recipe at the same budget, and compares the final net with
// it; where the plain recipe cannot meet the budget, the report says so.
func (a *Account) BesidePlain(ctx context.Context, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint) error {
	c, err := Plain(ctx, a.env, start, teachers, a.o)
	if errors.Is(err, ErrNotPlain) {
		a.Note(err.Error())
		return nil
	}
	if ctx.Err() != nil {
		left := fmt.Sprintf("; the net is found and lies in %s, the plain recipe beside it is not yet made", a.page.File)
		return &InterruptedError{a.env.Dir, left, ctx.Err()}
	}
	if err != nil {
		return err
	}
	return a.Beside(ctx, "plain recipe", c)
}

// matches reports whether a net is for the classes of the data; one that names none is
// if it has as many.
func matches(c *checkpoint.Checkpoint, ds *data.Dataset) error {
	x := *c
	if len(x.Classes) == 0 {
		x.Classes = ds.Classes
	}
	return x.CheckDataset(ds)
}

// cost returns that of a net as its file lies there, with the time of its program.
func (a *Account) cost(ctx context.Context, c *checkpoint.Checkpoint) (budget.Cost, error) {
	m := *a.meter
	m.MS = 0
	cost, err := m.Cost(ctx, bare(c))
	if err != nil {
		return cost, err
	}
	if c.Bytes > 0 {
		cost.Bytes = c.Bytes
	}
	if a.o.Under.MS > 0 {
		cost.MS, err = Timed(ctx, a.env.Backend, c, a.o.Under.Batch)
	}
	return cost, err
}

// Timed returns the milliseconds that the program of a net takes for a batch, by the
// median of runs one after the other, as potstill bench model takes it.
func Timed(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, batch int) (float64, error) {
	o := eval.LatencyOptions{Batch: batch, Warm: 10, Runs: 100, Time: time.Second, Height: c.Net.Input.Height, Width: c.Net.Input.Width}
	l, err := eval.MeasureLatency(ctx, b, c, o)
	if err != nil {
		return 0, err
	}
	return 1000 * l.Percentile(0.5), nil
}

// right returns which images of a split a net gets right, and their share.
func (a *Account) right(ctx context.Context, c *checkpoint.Checkpoint, s *data.Split) ([]bool, float64, error) {
	out := make([]bool, s.Len())
	n := 0
	_, err := eval.Evaluate(ctx, a.env.Backend, c, s, eval.Options{Workers: a.o.Train.Workers, Each: func(i int, logits []float32) error {
		if k, _ := metrics.Confidence(logits); k == s.Label(i) {
			out[i] = true
			n++
		}
		return nil
	}})
	return out, float64(n) / float64(max(len(out), 1)), err
}

// Note adds a sentence to the report, below the table of nets.
func (a *Account) Note(text string) { a.page.Notes = append(a.page.Notes, text) }

// Report returns the report as far as it is known; command is what repeats the search.
func (a *Account) Report(command string) (*report.Shrink, error) {
	page := *a.page
	page.Command = command
	text, err := os.ReadFile(filepath.Join(a.env.Dir, RecipeFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	page.Recipe = string(text)
	return &page, nil
}
