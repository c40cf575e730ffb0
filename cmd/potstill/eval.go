package main

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers/checkpoint"
)

// evalCmd is potstill eval.
type evalCmd struct {
	fileFlags
	dataFlags
	Split     string `enum:"auto,training,train,validation,val,testing,test,all" default:"auto" help:"Part of the data: training, validation, testing or all; if not given, validation or else the only part there is."`
	Batch     int    `default:"32" help:"Images at a time."`
	Size      int    `placeholder:"N" help:"Height and width of the center crop, if not the model's own."`
	Confusion bool   `help:"Print the confusion matrix."`
	inferPrecisionFlag
	PerClass bool `help:"Print precision, recall and F1 of every class, even where there are more than 20."`
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (evalCmd) Help() string {
	return `Images are prepared as the model's file says.

The data may be a test set alone: one part, some of the model's classes. Classes are matched by name, or by number
where the data have numbers for names.

Examples:

    potstill eval --model out/dwpw/best.safetensors --data food11 --split testing --json
    potstill eval --model out/dwpw/best.safetensors --data my-photos --split all`
}

// An evaluation is the JSON form of the result.
type evaluation struct {
	Model           string           `json:"model"`
	Data            string           `json:"data"`
	Split           string           `json:"split"`
	Top1            float64          `json:"top1"` // in [0, 1]
	Interval        metrics.Interval `json:"top1_interval"`
	Top5            *float64         `json:"top5,omitempty"`
	MacroF1         float64          `json:"macro_f1"`
	ECE             float64          `json:"ece"`
	Loss            float64          `json:"loss"` // mean cross-entropy, in nats
	N               int              `json:"n"`
	ImagesPerSecond float64          `json:"images_per_second"`
	Classes         []classFigures   `json:"classes"`
	Confusion       [][]int          `json:"confusion"` // [true][predicted]
	Skipped         []skippedPicture `json:"skipped"`
	LeftOut         []data.LeftOut   `json:"left_out"` // all files that were not used, by reason
}

// classFigures are those of one class; a figure that is not defined is left out.
type classFigures struct {
	Name string `json:"class"`
	metrics.Class
}

// A skippedPicture could not be decoded.
type skippedPicture struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

// Run evaluates.
func (c *evalCmd) Run(a *app) error {
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	if c.Batch < 1 {
		return fmt.Errorf("--batch %d: give at least 1", c.Batch)
	}
	assumed(a, m, c.Size)
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		d := c.dataFlags.resized(m.Preprocess.Resize)
		d.Evaluate = true
		return d.with(a, func(ds *data.Dataset) error {
			classes, err := align(ds, m)
			if err != nil {
				return err
			}
			part, name, err := splitOf(ds, c.Split)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Data, err)
			}
			if name == "validation" && ds.HeldOut > 0 {
				a.log.Info(fmt.Sprintf("%s has no validation part: evaluating the pictures that training holds out; --split all takes every one", c.Data))
			}
			seen := newCoverage(m.Preprocess)
			for i := range part.Len() {
				seen.add(part.Bounds(i))
			}
			if line := seen.line(); line != "" {
				a.log.Info(line)
			}
			done, scores := 0, metrics.New(m.Net.Classes())
			a.console.begin("evaluating", part.Len())
			ev, err := eval.Evaluate(a.ctx, b, m, part, eval.Options{Batch: c.Batch, Precision: c.Precision, Classes: classes, Each: func(i int, logits []float32) error {
				done++
				a.console.advance(done, part.Len(), "")
				return scores.Add(logits, part.Label(i))
			}})
			a.console.end()
			if err != nil {
				return err
			}
			if math.IsNaN(ev.Loss) || math.IsInf(ev.Loss, 0) {
				return fmt.Errorf("%s: the loss on these images is %g, the model's weights are broken; take an earlier checkpoint", c.Model, ev.Loss)
			}
			return c.print(a, newEvaluation(c.Model, c.Data, name, ds, scores.Figures(), ev.ImagesPerSecond))
		})
	})
}

// align gives the images the labels that their classes have in the model. It
// returns the data's classes where the model has no names to hold them to.
func align(ds *data.Dataset, m *checkpoint.Checkpoint) (unchecked []string, err error) {
	classes := m.Classes
	if n := m.Net.Classes(); len(classes) == 0 && len(ds.Classes) < n { // numbers are all there is to go by
		for i := range n {
			classes = append(classes, strconv.Itoa(i))
		}
	}
	if len(classes) == 0 {
		return ds.Classes, nil
	}
	if err := ds.Align(classes); err != nil {
		return nil, fmt.Errorf("%s: %w; choose the data it was trained on, or data of some of its classes", m.Path, err)
	}
	return nil, nil
}

// splitOf returns a part of the data and its full name.
func splitOf(ds *data.Dataset, split string) (*data.Split, string, error) {
	has := func(s *data.Split) bool { return s != nil && s.Len() > 0 }
	part, name := ds.Val, "validation"
	switch {
	case split == "training" || split == "train":
		part, name = ds.Train, "training"
	case split == "testing" || split == "test" || split == "auto" && !has(ds.Val) && has(ds.Test):
		part, name = ds.Test, "testing"
	case split == "auto" && !has(ds.Val):
		part, name = ds.Train, "training"
	case split == "all":
		part, name = ds.All(), "all"
	}
	if !has(part) {
		return nil, name, fmt.Errorf("there are no %s images; choose another part with --split", name)
	}
	return part, name, nil
}

func newEvaluation(model, source, split string, ds *data.Dataset, f metrics.Figures, speed float64) evaluation {
	e := evaluation{
		Model: model, Data: source, Split: split, Top1: f.Top1, Interval: f.Interval, Top5: f.Top5, MacroF1: f.MacroF1, ECE: f.ECE,
		Loss: f.Loss, N: f.N, ImagesPerSecond: speed, Confusion: f.Confusion, Skipped: []skippedPicture{},
		LeftOut: append([]data.LeftOut{}, ds.LeftOut...),
	}
	for i, class := range ds.Classes {
		e.Classes = append(e.Classes, classFigures{class, f.Classes[i]})
	}
	for _, s := range ds.Skipped {
		e.Skipped = append(e.Skipped, skippedPicture{s.File, s.Err.Error()})
	}
	return e
}

func (c *evalCmd) print(a *app, e evaluation) error {
	if c.JSON {
		return printJSON(a.out, e)
	}
	rows := [][]string{{"top-1", withInterval(e.Top1, e.N)}}
	if e.Top5 != nil {
		rows = append(rows, []string{"top-5", withInterval(*e.Top5, e.N)})
	}
	rows = append(rows,
		[]string{"macro F1", percent(e.MacroF1)},
		[]string{"calibration error", percent(e.ECE)},
		[]string{"loss", fmt.Sprintf("%.4f", e.Loss)},
		[]string{"images", fmt.Sprintf("%s (%s)", thousands(e.N), e.Split)},
		[]string{"images/s", fmt.Sprintf("%.0f", e.ImagesPerSecond)},
	)
	err := table(a.out, rows)
	if err == nil && (c.PerClass || len(e.Classes) <= manyClasses) {
		err = e.printClasses(a.out)
	}
	if err == nil && c.Confusion {
		err = e.printConfusion(a.out)
	}
	return err
}

// manyClasses is how many are told of without being asked.
const manyClasses = 20

// printClasses prints the figures of the classes that occur.
func (e evaluation) printClasses(w io.Writer) error {
	fmt.Fprintln(w)
	rows := [][]string{{"class", "images", "precision", "recall", "F1"}}
	for _, f := range e.Classes {
		if f.F1 == nil {
			continue
		}
		row := []string{f.Name, thousands(f.N)}
		for _, x := range []*float64{f.Precision, f.Recall, f.F1} {
			cell := "–"
			if x != nil {
				cell = percent(*x)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}

func (e evaluation) printConfusion(w io.Writer) error {
	fmt.Fprintln(w, "\nconfusion, a row for each true class, a column for each predicted one:")
	rows := [][]string{{""}}
	for i := range e.Classes {
		rows[0] = append(rows[0], strconv.Itoa(i))
	}
	for i, f := range e.Classes {
		row := []string{fmt.Sprintf("%d %s", i, f.Name)}
		for _, n := range e.Confusion[i] {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}
