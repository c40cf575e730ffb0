package main

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// shrinkCmd is potstill shrink.
type shrinkCmd struct {
	fileFlags
	Under     []string `required:"" sep:"none" placeholder:"LIMIT" help:"What the net may cost: 98496B, 0.5ms@1 (for a batch of 1), 2M params, 20M macs, 96KB ram; several with commas, or given several times."`
	Teacher   []string `sep:"none" placeholder:"FILE" help:"What teaches; the model itself if not given. Given several times, their losses are averaged."`
	KD        string   `name:"kd" default:"kd:T=4,alpha=0.9" placeholder:"METHOD:KEY=V,...+..." help:"The loss under the teacher (${default})."`
	WeightBit []int    `name:"bits" placeholder:"N,..." help:"Bits that weights may have, the most first; 8,4 if the budget is of bytes or memory, else none: the net stays in float32."`
	Rounds    int      `placeholder:"N" help:"Rounds in which the budget is approached; 3 if not given."`
	Tune      int      `placeholder:"N" help:"Training images that a proposal is trained on; 10000 if not given."`
	QAT       int      `name:"qat-epochs" placeholder:"N" help:"Epochs of training with rounded weights; a third of --epochs if not given."`
	QATRate   float64  `name:"qat-lr" placeholder:"LR" help:"Its learning rate; 3e-4 if not given."`
	Out       string   `default:"out/shrink" placeholder:"DIR" help:"Folder of the search; the same command with the same folder resumes it (${default})."`
	besideFlags
	runFlags
	imageFlags
	dataFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (shrinkCmd) Help() string {
	return `Begins with a trained net and comes to the budget in rounds: channels, blocks and bits of weights go where the predictions
change least for what it saves, as measured; proposals are trained for a short time under the teacher and judged on
the validation images, and the last net is trained in full, with its bits.

Example:

    potstill shrink --model out/start/best.safetensors --data cifar10.tar.gz --under 98496B --out out/98k`
}

// Run searches.
func (c *shrinkCmd) Run(a *app) error {
	limits, err := budget.Parse(c.Under...)
	if err != nil {
		return fmt.Errorf("--under: %w", err)
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	var teachers []*checkpoint.Checkpoint
	for _, file := range c.Teacher {
		t, err := loadModel(a, file, foreignFlags{}, imageSize{})
		if err != nil {
			return err
		}
		teachers = append(teachers, t)
	}
	p, err := c.imageFlags.preprocess(c.dataFlags, m.Net, m, nil)
	if err != nil {
		return err
	}
	m.Preprocess = p
	beside, err := c.besideFlags.load(a, p)
	if err != nil {
		return err
	}
	o := shrink.Options{Under: limits, Bits: c.WeightBit, Rounds: c.Rounds, Tune: c.Tune, QAT: c.QAT, QATRate: c.QATRate, KD: distill.Settings{Spec: c.KD}}
	if o.Bits == nil {
		o.Bits = shrink.DefaultBits(limits)
	}
	if o.QAT == 0 {
		o.QAT = shrink.DefaultQAT(c.Epochs, o.Bits)
	}
	if o.Train, err = c.runFlags.config(); err != nil {
		return err
	}
	o.Train.CutMixAlpha, o.Train.MixupAlpha, o.Train.BalancedSampling, o.Train.Shuffle = c.CutMix, c.Mixup, c.Balanced, !c.NoShuffle
	if o.Train.Train, o.Train.Eval, err = c.imageFlags.transforms(p); err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return c.dataFlags.with(a, func(ds *data.Dataset) error {
			if ds.Val == nil {
				return errors.New("a search chooses by validation images, and the data have none")
			}
			env := compress.Env{Backend: b, Data: ds, Dir: c.Out, Log: a.log}
			r, err := shrink.Run(a.ctx, env, m, teachers, o)
			if err != nil {
				return err
			}
			return c.tell(a, shrinkAccount{env, m, teachers, beside, o}, r)
		})
	})
}
