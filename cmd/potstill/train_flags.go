package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine/train"
)

// runFlags are the settings of a training run.
type runFlags struct {
	Epochs      int    `default:"20" help:"Passes over the training images."`
	Batch       int    `default:"32" help:"Images a step."`
	Seed        uint64 `default:"1" help:"Decides initialization, order and every random choice."`
	Workers     int    `placeholder:"N" help:"Goroutines that prepare images; results do not depend on it."`
	HostAugment bool   `help:"CUDA: prepare the training images on the CPU, even where they would fit on the device."`

	LR          float64   `name:"lr" default:"1e-3" group:"Optimizer:" help:"Learning rate."`
	Optimizer   string    `aliases:"optimiser" enum:"adamw,adam,sgd,stale" default:"adamw" group:"Optimizer:" help:"adamw, adam, sgd, or stale, which moves nothing but batch norm's running statistics."`
	WeightDecay float64   `default:"0.01" group:"Optimizer:" help:"Weight decay."`
	Momentum    float64   `placeholder:"M" group:"Optimizer:" help:"Momentum of sgd."`
	Nesterov    bool      `group:"Optimizer:" help:"Nesterov's momentum."`
	Betas       []float64 `placeholder:"B1,B2" group:"Optimizer:" help:"Decay of Adam's moments; 0.9,0.999 if not given."`
	Eps         *float64  `placeholder:"E" group:"Optimizer:" help:"Adam's epsilon; 1e-8 if not given."`
	ClipNorm    float64   `aliases:"clip" placeholder:"NORM" group:"Optimizer:" help:"Bound on the gradient's norm."`
	Accumulate  int       `placeholder:"N" group:"Optimizer:" help:"Batches whose gradients make one step."`
	EMA         float64   `name:"ema" placeholder:"DECAY" group:"Optimizer:" help:"Evaluate and keep a moving average of the weights."`

	Schedule     string   `enum:"constant,step,cosine,onecycle" default:"constant" group:"Schedule:" help:"How the learning rate moves: constant, step, cosine, onecycle."`
	Warmup       int      `placeholder:"STEPS" group:"Schedule:" help:"Steps of linear warm-up."`
	WarmupEpochs float64  `placeholder:"N" group:"Schedule:" help:"Epochs of linear warm-up."`
	StepSize     *int     `placeholder:"N" group:"Schedule:" help:"Epochs between two falls of step; 30 if not given."`
	Gamma        *float64 `placeholder:"G" group:"Schedule:" help:"Factor of step; 0.1 if not given."`
	MinLR        float64  `name:"min-lr" placeholder:"LR" group:"Schedule:" help:"Where cosine ends."`
	MaxLR        *float64 `name:"max-lr" placeholder:"LR" group:"Schedule:" help:"Peak of onecycle; --lr if not given."`

	precisionFlag
	ClassWeights   *classWeights `placeholder:"balanced|W,W,W" help:"Weights of the classes in the cross-entropy: one number a class, or balanced, the reciprocals of their numbers of training images."`
	LabelSmoothing float64       `placeholder:"E" help:"Share of the label that is spread over all classes."`
	Sparsity       float64       `placeholder:"S" help:"Draw channels to 0 before a cut, with S as the factor in the loss: as 1e-4."`
	SparsityBy     string        `enum:",scales,groups,growing" default:"" placeholder:"WHAT" help:"What --sparsity draws: scales of batch norms (if not given), groups of channels, the weakest most, or the same by a force that grows (growing). docs/pruning.md has the formulas."`
	SparsityGrowth float64       `placeholder:"D" help:"By how much growing grows an epoch; --sparsity if not given."`
	Patience       int           `placeholder:"N" help:"Stop after N epochs without a better validation accuracy."`
	SyncBN         bool          `name:"sync-bn" help:"Several ranks: batch norms take their statistics from the batches of all, instead of each rank's own."`
	DropLast       bool          `help:"Leave out an epoch's last batch if it is smaller."`
}

// imageFlags say what images go through.
type imageFlags struct {
	Size      *pixels      `placeholder:"N|HxW" help:"Height and width that the net sees, as in 128 or 96x128. If not given, those of the model in --init or --teacher; else 256, or 28 for builtin:fashion."`
	Resize    *int         `placeholder:"N" group:"Images:" help:"Scale the shorter side to N first; 0 does not. If not given, as the model in --init or --teacher says; with --random-resized-crop size/0.875, in evaluation alone."`
	Normalize normalizeOpt `aliases:"normalise" placeholder:"imagenet|none|M,M,M/S,S,S" group:"Images:" help:"Subtract means and divide by deviations. If not given, as the model in --init or --teacher says."`

	NoAugment    bool      `group:"Images:" help:"Train on the images as they are evaluated: center crop, nothing random."`
	NoShuffle    bool      `group:"Images:" help:"Keep the order of the images in every epoch."`
	Flip         float64   `default:"0.5" group:"Images:" help:"Probability of a horizontal flip."`
	Rotation     float64   `default:"15" group:"Images:" help:"Rotate by up to so many degrees."`
	Padding      int       `placeholder:"N" group:"Images:" help:"Pad by N mirrored pixels before the random crop."`
	RandomResize []float64 `name:"random-resized-crop" placeholder:"MIN" group:"Images:" help:"Crop a share of the area between MIN and MAX, as in 0.08,1, instead of a fixed size."`
	Jitter       []float64 `placeholder:"B" group:"Images:" help:"Jitter brightness, contrast, saturation and hue, as in 0.2,0.2,0.2,0.05."`
	Perspective  float64   `placeholder:"D" group:"Images:" help:"Distort the perspective of every second image by up to D, as in 0.3."`
	RandAugment  []int     `placeholder:"N,M" group:"Images:" help:"Apply N random operations of magnitude M, from 0 to 30, as torchvision's RandAugment does; 2,9 are its defaults."`
	Erase        float64   `placeholder:"P" group:"Images:" help:"Erase a random rectangle with probability P."`
	Mixup        float64   `placeholder:"A" group:"Images:" help:"Mix pairs of images by shares from Beta(A,A)."`
	CutMix       float64   `name:"cutmix" placeholder:"A" group:"Images:" help:"Cut a rectangle of each image from another, its share from Beta(A,A). With --mixup each batch gets one of the two."`
	Balanced     bool      `name:"balanced-sampling" group:"Images:" help:"Draw every class as often, with replacement, instead of each image once an epoch."`
}

// outFlags say where a run is kept.
type outFlags struct {
	Out       string `placeholder:"DIR" help:"Folder for best and last weights and the figures of the run; a new one below out if not given."`
	Resume    bool   `help:"Resume the run in --out from its last weights, exactly as if it had never been stopped. Flags that are not given are those that it was begun with. --epochs may be another number with --schedule constant or step; the rates of cosine and onecycle depend on it."`
	Force     bool   `help:"Replace the run that --out holds."`
	SaveEvery int    `placeholder:"STEPS" help:"Save the last weights every so many steps besides those after each epoch."`
	LogSteps  string `placeholder:"FILE|-" help:"Write a line of JSON with the loss after every step; - for standard output, where --json then writes its object in one line too."`
}

// normalize holds means and deviations.
type normalize struct{ mean, std []float32 }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *normalize) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "imagenet" {
		s = "0.485,0.456,0.406/0.229,0.224,0.225"
	}
	mean, std, _ := strings.Cut(s, "/")
	for _, part := range []struct {
		text string
		to   *[]float32
	}{{mean, &n.mean}, {std, &n.std}} {
		for f := range strings.SplitSeq(part.text, ",") {
			v, err := strconv.ParseFloat(f, 32)
			if err != nil {
				return fmt.Errorf("%q is no normalization: give imagenet, or three means and three deviations, as in 0.5,0.5,0.5/0.2,0.2,0.2", text)
			}
			*part.to = append(*part.to, float32(v))
		}
	}
	return nil
}

// classWeights are the classes' parts in the loss.
type classWeights struct {
	balanced bool
	list     []float32
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *classWeights) UnmarshalText(text []byte) error {
	*w = classWeights{balanced: string(text) == "balanced"}
	if w.balanced {
		return nil
	}
	for f := range strings.SplitSeq(string(text), ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(f), 32)
		if err != nil {
			return fmt.Errorf("%q are no class weights: give balanced, or one number a class, as in 1,0.5,2", text)
		}
		w.list = append(w.list, float32(v))
	}
	return nil
}

// sparse is what channels are drawn to 0 by.
func (f runFlags) sparse() distill.Sparsity {
	return distill.Sparsity{Strength: f.Sparsity, By: f.SparsityBy, Growth: f.SparsityGrowth}
}

// config returns the trainer's settings.
func (f runFlags) config() (train.Config, error) {
	c := train.Config{
		Epochs: f.Epochs, Batch: f.Batch, Seed: f.Seed, Workers: f.Workers,
		Optimizer: train.OptimizerConfig{
			Kind: f.Optimizer, LR: f.LR, WeightDecay: f.WeightDecay, Eps: f.Eps, Momentum: f.Momentum, Nesterov: f.Nesterov,
		},
		Schedule: train.ScheduleConfig{
			Kind: f.Schedule, Warmup: f.Warmup, WarmupEpochs: f.WarmupEpochs, Gamma: f.Gamma, MinLR: f.MinLR,
		},
		ClipNorm: float32(f.ClipNorm), Accumulate: f.Accumulate, EMA: float32(f.EMA),
		Precision: f.Precision, HostAugment: f.HostAugment, LabelSmoothing: float32(f.LabelSmoothing), Patience: f.Patience, DropLast: f.DropLast, SyncBatchNorm: f.SyncBN,
	}
	if w := f.ClassWeights; w != nil {
		c.ClassWeights, c.BalancedWeights = w.list, w.balanced
	}
	// Where the trainer takes zero for its default, a zero that is given is refused.
	if f.StepSize != nil {
		if c.Schedule.StepSize = *f.StepSize; *f.StepSize == 0 {
			return c, errors.New("--step-size 0: give at least 1")
		}
	}
	if f.MaxLR != nil {
		if c.Schedule.MaxLR = *f.MaxLR; *f.MaxLR == 0 {
			return c, errors.New("--max-lr 0: give a positive learning rate")
		}
	}
	switch len(f.Betas) {
	case 0:
	case 2:
		c.Optimizer.Betas = (*[2]float64)(f.Betas)
	default:
		return c, fmt.Errorf("--betas has %d numbers: give two, as in 0.9,0.999", len(f.Betas))
	}
	return c, nil
}
