package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// trainCmd is potstill train.
type trainCmd struct {
	Arch string `default:"cnn-dwpw" help:"Family of the net (potstill summary --help lists them), or a YAML file of a net of your own."`
	archFlags
	initFlags
	qatFlags
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
needs to DIR/last.safetensors, the figures of every epoch to DIR/metrics.jsonl and, as a table, to DIR/metrics.csv. A DIR that holds a run is refused,
unless --resume or --force is given; without --out it is the first free one of out/train, out/train-2 and so on. With --qat
a trained net is trained on with rounded weights and activations (docs/quantization.md).

Example:

    potstill train --arch cnn-dwpw --data food11 --size 128 --epochs 30 --schedule cosine --out out/dwpw
    potstill train --qat --init out/dwpw/best.safetensors --data food11 --epochs 3 --lr 1e-4 --schedule cosine --out out/dwpw-int8`
}

// Run trains.
func (c *trainCmd) Run(a *app) error {
	if err := a.join(c.deviceFlags); err != nil {
		return err
	}
	if err := c.choose(a, "out/train"); err != nil {
		return err
	}
	start, err := c.initFlags.load(a)
	if err != nil {
		return err
	}
	if err := c.qatFlags.check(c.initFlags); err != nil {
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
			j, err := c.job(ds, start, p)
			if err != nil {
				return err
			}
			if err := c.qatFlags.prepare(a, b, &j); err != nil {
				return err
			}
			return c.logged(a, func(w io.Writer) error {
				j.StepLog = w
				out, err := train1(a, b, j, "")
				if err != nil {
					return err
				}
				return printOutcome(a, c.JSON, out, ds.Val.Len(), nil)
			})
		})
	})
}

// job returns what the flags describe, with the weights to start from, if there
// are any, and what the images go through.
func (c *trainCmd) job(ds *data.Dataset, start *checkpoint.Checkpoint, p checkpoint.Preprocess) (fit.Job, error) {
	return c.jobOf(ds, c.Arch, c.archFlags, c.initFlags, start, c.runFlags, c.imageFlags, p)
}

// jobOf is a job with the settings that all training commands share.
func (f outFlags) jobOf(ds *data.Dataset, arch string, widths archFlags, init initFlags, start *checkpoint.Checkpoint,
	r runFlags, i imageFlags, p checkpoint.Preprocess) (j fit.Job, err error) {
	j = fit.Job{
		Data: ds, Init: start, Preprocess: p,
		Dir: f.Out, Resume: f.Resume, Replace: f.Force, NewHead: init.NewHead, Freeze: init.Freeze, Sparsity: r.sparse(),
	}
	if j.Net, err = netToTrain(arch, widths, start, len(ds.Classes)); err != nil {
		return j, err
	}
	for _, text := range init.LRScale {
		s, err := fit.ParseLRScale(text)
		if err != nil {
			return j, fmt.Errorf("--lr-scale: %w", err)
		}
		j.LRScales = append(j.LRScales, s)
	}
	if j.Config, err = r.config(); err != nil {
		return j, err
	}
	j.Config.CutMixAlpha, j.Config.BalancedSampling = i.CutMix, i.Balanced
	j.Config.Shuffle, j.Config.MixupAlpha, j.Config.SaveEvery = !i.NoShuffle, i.Mixup, f.SaveEvery
	j.Config.Train, j.Config.Eval, err = i.transforms(j.Preprocess)
	return j, err
}

// netToTrain is that of the weights to start from, or the one that is described.
func netToTrain(arch string, widths archFlags, start *checkpoint.Checkpoint, classes int) (*layers.Net, error) {
	if start != nil {
		return start.Net, nil
	}
	return widths.net(arch, classes)
}

// logged runs do with where the steps are logged, nil for nowhere.
func (f outFlags) logged(a *app, do func(w io.Writer) error) (err error) {
	if a.ranks.rank() > 0 {
		return do(nil)
	}
	w, closeLog, err := f.stepLog(a.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	a.jsonLines = f.LogSteps == "-"
	return do(w)
}

// train1 runs a job, with a name before its progress.
func train1(a *app, b engine.Backend, j fit.Job, name string) (*fit.Outcome, error) {
	j.Logger, j.Peers = a.log, a.ranks.peers()
	if name != "" {
		name += ": "
	}
	begun := false
	j.Step = func(s train.StepInfo) {
		total := j.Config.Epochs * s.Steps
		if !begun && a.ranks.rank() == 0 { // now that nothing has been refused
			begun = true
			announce(a, j, name)
			if err := a.keepCommand(a.dir); err != nil {
				a.log.Warn("the flags of the run could not be kept for --resume", "error", err)
			}
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
			name, e.Epoch, j.Config.Epochs, e.TrainLoss, withInterval(e.ValAccuracy, j.Data.Val.Len()), e.ValLoss, e.ImagesPerSecond, best))
	}
	defer a.console.end()
	return fit.Run(a.ctx, b, j)
}

// An outcome is the JSON form of a training run.
type outcome struct {
	Best        string            `json:"best"` // path of the best weights
	Last        string            `json:"last"`
	Params      int               `json:"params"`
	Bytes       int64             `json:"bytes"` // of the file Best
	BestEpoch   int               `json:"best_epoch"`
	ValAccuracy float64           `json:"val_accuracy"` // of Best
	Interval    metrics.Interval  `json:"val_interval"`
	ValLoss     float64           `json:"val_loss"`
	Stopped     bool              `json:"stopped_early"`
	Teacher     *teacherOutcome   `json:"teacher,omitempty"`
	History     []train.EpochInfo `json:"history"`
	Ranks       *ranksOutcome     `json:"ranks,omitempty"`
}

// A ranksOutcome says how several processes have trained together.
type ranksOutcome struct {
	Ranks int    `json:"ranks"`
	Over  string `json:"over"`       // the libraries that carried what they exchanged
	Sent  int64  `json:"sent_bytes"` // by rank 0 to the others
}

// A teacherOutcome is the teacher's part in it.
type teacherOutcome struct {
	File        string   `json:"file"`
	ValAccuracy *float64 `json:"val_accuracy,omitempty"` // where it is known
}

// printOutcome prints the figures of a run that was validated on so many images.
func printOutcome(a *app, asJSON bool, out *fit.Outcome, images int, teacher *teacherOutcome) error {
	m, err := out.Best.Net.Model()
	if err != nil {
		return err
	}
	r := out.Result
	o := outcome{
		Best: out.BestPath, Last: out.LastPath, Params: m.Params(), Bytes: out.BytesBest, BestEpoch: r.Best.Epoch,
		ValAccuracy: r.Best.ValAccuracy, Interval: metrics.Wilson(r.Best.ValAccuracy, images), ValLoss: r.Best.ValLoss, Stopped: r.Stopped, Teacher: teacher, History: r.History,
	}
	o.Ranks = a.ranks.outcome()
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
		{"validation accuracy", fmt.Sprintf("%s in epoch %d of %d", withInterval(o.ValAccuracy, images), o.BestEpoch, len(o.History))},
	}
	if teacher != nil && teacher.ValAccuracy != nil {
		rows = append(rows, []string{"teacher's", withInterval(*teacher.ValAccuracy, images)})
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
