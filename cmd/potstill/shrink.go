package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// shrinkCmd is potstill shrink.
type shrinkCmd struct {
	Model  string `placeholder:"FILE" help:"The net to begin with, of any format that potstill reads."`
	Start  string `placeholder:"FAMILY" help:"In place of --model: a net of this family is scaled to twice the budget and trained first."`
	Repeat string `placeholder:"FILE" help:"The recipe.yaml of an earlier search: what it has found is made again, without the search. Budget and settings are the recipe's."`
	foreignFlags
	openFlag
	Under       []string      `sep:"none" placeholder:"LIMIT" help:"What the net may cost: 98496B, 0.5ms@1 (for a batch of 1), 2M params, 20M macs, 96KB ram; several with commas, or given several times."`
	Teacher     []string      `sep:"none" placeholder:"FILE" help:"What teaches; the model itself if not given. Given several times, their losses are averaged."`
	KD          string        `name:"kd" default:"kd:T=4,alpha=0.9" placeholder:"METHOD:KEY=V,...+..." help:"The loss under the teacher (${default})."`
	WeightBit   []int         `name:"bits" placeholder:"N,..." help:"Bits that weights may have, the most first; 8,4 if the budget is of bytes or memory, else none: the net stays in float32."`
	Rounds      int           `placeholder:"N" help:"Rounds in which the budget is approached; 3 if not given."`
	Time        time.Duration `placeholder:"DURATION" help:"How long the rounds may take, as 90m or 2h; the last training is not counted. What is left is then done in one round."`
	Images      int           `placeholder:"N" help:"Training images by which moves are compared; 256 if not given."`
	Tune        int           `placeholder:"N" help:"Training images that a proposal is trained on; 10000 if not given."`
	Nearest     bool          `help:"Round weights to the nearest code where nets are judged, in place of AdaRound, which is better and takes longer."`
	QAT         int           `name:"qat-epochs" placeholder:"N" help:"Epochs of training with rounded weights; a third of --epochs if not given."`
	QATRate     float64       `name:"qat-lr" placeholder:"LR" help:"Its learning rate; 3e-4 if not given."`
	StartEpochs int           `placeholder:"N" help:"Epochs of the net of --start; twice --epochs if not given."`
	Out         string        `default:"out/shrink" placeholder:"DIR" help:"Folder of the search; the same command with the same folder resumes it (${default})."`
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

Examples:

    potstill shrink --model out/start/best.safetensors --data cifar10.tar.gz --under 98496B --out out/98k
    potstill shrink --start cnn-dwpw --teacher resnet18.pth --data photos --size 128 --under 1ms@1 --time 2h --out out/1ms
    potstill shrink --repeat out/98k/recipe.yaml --model out/start/best.safetensors --data cifar10.tar.gz --out out/again`
}

// AfterApply refuses flags without effect.
func (c *shrinkCmd) AfterApply(k *kong.Context) error {
	set := flagsOf(k)
	err := cmp.Or(c.runFlags.check(set), c.imageFlags.check(set),
		set.without("with shrink, which ranks by what predictions lose", "sparsity", "sparsity-by", "sparsity-growth"))
	if err != nil {
		return err
	}
	switch {
	case c.Model == "" && c.Start == "":
		return errors.New("what is to be shrunk? Give --model a trained net, or --start the name of a family")
	case c.Model != "" && c.Start != "":
		return errors.New("--model and --start are two ways to begin: give one")
	case c.Repeat != "":
		return set.without("with --repeat, whose recipe says so", "start", "under", "kd", "bits", "rounds", "time", "images", "tune", "nearest",
			"qat-epochs", "qat-lr", "epochs", "batch", "seed", "lr", "optimizer", "weight-decay", "momentum", "nesterov", "schedule", "precision")
	case len(c.Under) == 0:
		return errors.New("what may the net cost? Give --under, as 98496B, 0.5ms@1, 2M params, 20M macs or 96KB ram")
	case c.Start != "":
		return set.without("with --start, which names a family", "arch", "weights", "input")
	}
	return set.without("without --start", "start-epochs")
}

// begin reads the start net and the teachers; with --start there is no net yet, but one
// of the family that says what its images are.
func (c *shrinkCmd) begin(a *app) (m *checkpoint.Checkpoint, net *layers.Net, teachers []*checkpoint.Checkpoint, err error) {
	if c.Start != "" {
		net, err = layers.Open(layers.Arch{Family: c.Start, Classes: 2})
	} else if m, err = loadModel(a, c.Model, c.foreignFlags, c.Input); err == nil {
		net = m.Net
	}
	if err != nil {
		return nil, nil, nil, err
	}
	for _, file := range c.Teacher {
		t, err := loadModel(a, file, foreignFlags{}, imageSize{})
		if err != nil {
			return nil, nil, nil, err
		}
		teachers = append(teachers, t)
	}
	return m, net, teachers, nil
}

// options returns those of the search, for images prepared by p.
func (c *shrinkCmd) options(a *app, p checkpoint.Preprocess) (o shrink.Options, err error) {
	o = shrink.Options{
		Bits: c.WeightBit, Rounds: c.Rounds, Time: c.Time, Images: c.Images, Tune: c.Tune, Nearest: c.Nearest,
		QAT: c.QAT, QATRate: c.QATRate, KD: distill.Settings{Spec: c.KD},
	}
	if o.Under, err = budget.Parse(c.Under...); err != nil {
		return o, fmt.Errorf("--under: %w", err)
	}
	if o.Bits == nil {
		o.Bits = shrink.DefaultBits(o.Under)
	}
	if o.QAT == 0 {
		o.QAT = shrink.DefaultQAT(c.Epochs, o.Bits)
	}
	if o.Train, err = c.runFlags.config(); err != nil {
		return o, err
	}
	o.Train.CutMixAlpha, o.Train.MixupAlpha, o.Train.BalancedSampling, o.Train.Shuffle = c.CutMix, c.Mixup, c.Balanced, !c.NoShuffle
	o.Train.Train, o.Train.Eval, err = c.imageFlags.transforms(p)
	return o, err
}

// Run searches, or repeats what a search has found.
func (c *shrinkCmd) Run(a *app) error {
	m, net, teachers, err := c.begin(a)
	if err != nil {
		return err
	}
	p, err := c.imageFlags.preprocess(c.dataFlags, net, m, nil)
	if err != nil {
		return err
	}
	if m != nil {
		m.Preprocess = p
	}
	beside, err := c.besideFlags.load(a, p)
	if err != nil {
		return err
	}
	var recipe *shrink.Recipe
	var o shrink.Options
	if c.Repeat != "" {
		if recipe, err = shrink.ReadRecipe(c.Repeat); err == nil {
			o = recipe.Options
		}
	} else {
		o, err = c.options(a, p)
	}
	if err != nil {
		return err
	}
	stage := ""
	o.Progress = func(now string, done, of int, text string) {
		if now != stage {
			stage = now
			a.console.end()
			a.console.begin(now, of)
		}
		a.console.advance(done, of, text)
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return c.dataFlags.with(a, func(ds *data.Dataset) error {
			defer a.console.end()
			if ds.Val == nil {
				return errors.New("a search chooses by validation images, and the data have none")
			}
			env := compress.Env{Backend: b, Data: ds, Dir: c.Out, Log: a.log}
			var r *shrink.Outcome
			if m == nil {
				if m, err = shrink.Grow(a.ctx, env, c.Start, p, teachers, cmp.Or(c.StartEpochs, 2*c.Epochs), o); err != nil {
					return err
				}
			}
			if recipe != nil {
				r, err = shrink.Repeat(a.ctx, env, m, teachers, recipe, o)
			} else {
				r, err = shrink.Run(a.ctx, env, m, teachers, o)
			}
			if err != nil && !errors.Is(err, shrink.ErrOver) { // of a net over its budget, tell says so
				return err
			}
			a.console.end()
			return c.tell(a, shrinkAccount{env, m, teachers, beside, o}, r)
		})
	})
}
