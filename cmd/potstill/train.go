package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// trainCmd is potstill train.
type trainCmd struct {
	Arch string `default:"cnn-dwpw" help:"Family of the net (${families}), or a YAML file of a net of your own."`
	archFlags
	initFlags
	dataFlags
	runFlags
	imageFlags
	outFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (trainCmd) Help() string {
	return `The best weights by validation accuracy go to DIR/best.safetensors, the last ones with all that --resume
needs to DIR/last.safetensors, the figures of every epoch to DIR/metrics.jsonl.

Example:

    potstill train --arch cnn-dwpw --data food11 --size 128 --epochs 30 --schedule cosine --out out/dwpw`
}

// Run trains.
func (c *trainCmd) Run(a *app) error {
	if c.Out == "" {
		c.Out = "out/train"
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return c.dataFlags.resized(c.Resize).with(a, func(ds *data.Dataset) error {
			j, err := c.job(ds)
			if err != nil {
				return err
			}
			out, err := c.runJob(a, b, j)
			if err != nil {
				return err
			}
			return printOutcome(a, c.JSON, out, nil)
		})
	})
}

// job returns what the flags describe.
func (c *trainCmd) job(ds *data.Dataset) (distill.Job, error) {
	return c.jobOf(ds, c.Arch, c.archFlags, c.initFlags, c.dataFlags, c.runFlags, c.imageFlags)
}

// jobOf is a job with the settings that all training commands share.
func (f outFlags) jobOf(ds *data.Dataset, arch string, widths archFlags, init initFlags, d dataFlags, r runFlags, i imageFlags) (j distill.Job, err error) {
	j = distill.Job{Data: ds, Dir: f.Out, Resume: f.Resume, NewHead: init.NewHead, Freeze: init.Freeze}
	if j.Init, err = init.load(); err != nil {
		return j, err
	}
	if j.Init != nil {
		j.Net = j.Init.Net
	} else if j.Net, err = widths.net(arch, len(ds.Classes)); err != nil {
		return j, err
	}
	for _, text := range init.LRScale {
		s, err := distill.ParseLRScale(text)
		if err != nil {
			return j, fmt.Errorf("--lr-scale: %w", err)
		}
		j.LRScales = append(j.LRScales, s)
	}
	i.Size = cmp.Or(i.Size, j.Net.Input.Height)
	j.Preprocess = i.preprocess(d)
	if j.Config, err = r.config(); err != nil {
		return j, err
	}
	j.Config.Shuffle, j.Config.MixupAlpha, j.Config.SaveEvery = !i.NoShuffle, i.Mixup, f.SaveEvery
	j.Config.Train, j.Config.Eval, err = i.transforms(j.Preprocess)
	return j, err
}

// runJob runs the job with its progress on the console and its steps in the log.
func (f outFlags) runJob(a *app, b engine.Backend, j distill.Job) (out *distill.Outcome, err error) {
	w, closeLog, err := f.stepLog(a.out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	j.StepLog, a.jsonLines = w, f.LogSteps == "-"
	return train1(a, b, j, "")
}

// train1 runs a job, with a name before its progress.
func train1(a *app, b engine.Backend, j distill.Job, name string) (*distill.Outcome, error) {
	j.Logger = a.log
	if name != "" {
		name += ": "
	}
	begun := false
	j.Step = func(s train.StepInfo) {
		total := j.Config.Epochs * s.Steps
		if !begun {
			begun = true
			a.console.begin(name+"training", total)
		}
		a.console.describe(fmt.Sprintf("%sepoch %d/%d", name, s.Epoch, j.Config.Epochs))
		a.console.advance((s.Epoch-1)*s.Steps+s.Step, total, fmt.Sprintf("loss %.4f, %.0f images/s", s.Loss, s.ImagesPerSecond))
	}
	j.Epoch = func(e train.EpochInfo) {
		best := ""
		if e.Best {
			best = ", the best so far"
		}
		a.console.line(fmt.Sprintf("%sepoch %d/%d: loss %.4f, validation %s (loss %.4f), %.0f images/s%s",
			name, e.Epoch, j.Config.Epochs, e.TrainLoss, percent(e.ValAccuracy), e.ValLoss, e.ImagesPerSecond, best))
	}
	defer a.console.end()
	return distill.Train(a.ctx, b, j)
}

// An outcome is the JSON form of a training run.
type outcome struct {
	Best        string            `json:"best"` // path of the best weights
	Last        string            `json:"last"`
	Params      int               `json:"params"`
	Bytes       int64             `json:"bytes"` // of the file Best
	BestEpoch   int               `json:"best_epoch"`
	ValAccuracy float64           `json:"val_accuracy"` // of Best
	ValLoss     float64           `json:"val_loss"`
	Stopped     bool              `json:"stopped_early"`
	Teacher     *teacherOutcome   `json:"teacher,omitempty"`
	History     []train.EpochInfo `json:"history"`
}

// A teacherOutcome is the teacher's part in it.
type teacherOutcome struct {
	File        string   `json:"file"`
	ValAccuracy *float64 `json:"val_accuracy,omitempty"` // where it is known
}

// printOutcome prints the figures of a run.
func printOutcome(a *app, asJSON bool, out *distill.Outcome, teacher *teacherOutcome) error {
	m, err := out.Best.Net.Model()
	if err != nil {
		return err
	}
	r := out.Result
	o := outcome{
		Best: out.BestPath, Last: out.LastPath, Params: m.Params(), Bytes: out.BytesBest, BestEpoch: r.Best.Epoch,
		ValAccuracy: r.Best.ValAccuracy, ValLoss: r.Best.ValLoss, Stopped: r.Stopped, Teacher: teacher, History: r.History,
	}
	switch {
	case asJSON && a.jsonLines:
		return json.NewEncoder(a.out).Encode(o)
	case asJSON:
		return printJSON(a.out, o)
	}
	rows := [][]string{
		{"best weights", o.Best},
		{"bytes", thousands(o.Bytes)},
		{"parameters", thousands(o.Params)},
		{"validation accuracy", fmt.Sprintf("%s in epoch %d of %d", percent(o.ValAccuracy), o.BestEpoch, len(o.History))},
	}
	if teacher != nil && teacher.ValAccuracy != nil {
		rows = append(rows, []string{"teacher's", percent(*teacher.ValAccuracy)})
	}
	return table(a.out, rows)
}

// accuracyOf returns the validation accuracy that a checkpoint tells of.
func accuracyOf(c *checkpoint.Checkpoint) *float64 {
	if v, ok := c.Metrics["val_accuracy"]; ok {
		return &v
	}
	return nil
}
