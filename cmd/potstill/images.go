package main

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// normalizeOpt is a normalize that may be none.
type normalizeOpt struct {
	normalize
	none bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *normalizeOpt) UnmarshalText(text []byte) error {
	*n = normalizeOpt{none: string(text) == "none"} // of several, the last counts
	if n.none {
		return nil
	}
	return n.normalize.UnmarshalText(text)
}

// resizeShare is the share of an image's shorter side that a center crop shows
// in evaluation where training crops at random: 224 of 256, as torchvision's
// reference recipes have it.
const resizeShare = 0.875

// preprocess returns what an image goes through in evaluation: what the flags
// say; else what the first of the models says that says anything, the weights to
// start from before the teacher; else the defaults. The size is that of the net,
// where it takes but one.
func (f imageFlags) preprocess(d dataFlags, net *layers.Net, start, teacher *checkpoint.Checkpoint) (checkpoint.Preprocess, error) {
	var p checkpoint.Preprocess
	switch {
	case start != nil && start.Declares():
		p = start.Preprocess
	case teacher != nil && teacher.Declares():
		p = teacher.Preprocess
	}
	p.Gray = net.Input.Channels == 1
	if h, w := net.Input.Height, net.Input.Width; h > 0 {
		p.Size, p.Width = h, widthOf(h, w)
	}
	if f.Size != nil {
		if p.Size > 0 { // the crop shows the same share of the image
			p.Resize = int(math.Round(float64(p.Resize) * float64(f.Size.h) / float64(p.Size)))
		}
		p.Size, p.Width = f.Size.h, widthOf(f.Size.h, f.Size.w)
	} else {
		p.Size = d.size(p.Size)
	}
	switch {
	case f.Resize != nil:
		if p.Resize = *f.Resize; p.Resize < 0 {
			return p, fmt.Errorf("--resize %d: give the length of the shorter side, or 0", p.Resize)
		}
	case p.Resize == 0 && len(f.RandomResize) > 0 && !f.NoAugment:
		p.Resize = int(math.Round(float64(max(p.Size, p.Width)) / resizeShare))
	}
	if f.Normalize.none || f.Normalize.mean != nil {
		p.Mean, p.Std = f.Normalize.mean, f.Normalize.std
	}
	return p, nil
}

// widthOf is a preprocessing's Width: 0 where it is the height.
func widthOf(h, w int) int {
	if h == w {
		return 0
	}
	return w
}

// trainResize is the Resize of training. A random resized crop scales by itself:
// it is only scaled before if that is asked for.
func (f imageFlags) trainResize(p checkpoint.Preprocess) int {
	if len(f.RandomResize) > 0 && f.Resize == nil {
		return 0
	}
	return p.Resize
}

// commonResize is what every transform of the images scales to first, or 0.
func (f imageFlags) commonResize(p checkpoint.Preprocess) int {
	if f.NoAugment {
		return p.Resize
	}
	return f.trainResize(p)
}

// transforms returns those of training and of evaluation.
func (f imageFlags) transforms(p checkpoint.Preprocess) (train, eval data.Transform, err error) {
	eval = p.Transform()
	if f.NoAugment {
		return eval, eval, nil
	}
	train = data.TrainTransform(p.Size)
	train.Resize, train.Mean, train.Std = f.trainResize(p), eval.Mean, eval.Std
	train.Width, train.Gray = eval.Width, eval.Gray
	train.HFlip, train.Rotation, train.Padding, train.Perspective = f.Flip, f.Rotation, f.Padding, f.Perspective
	switch r := f.RandomResize; len(r) {
	case 0:
	case 2:
		train.RandomCrop = false
		train.RandomResizedCrop = &data.ScaleRatio{Scale: [2]float64{r[0], r[1]}, Ratio: [2]float64{3. / 4, 4. / 3}}
	default:
		return train, eval, fmt.Errorf("--random-resized-crop has %d numbers: give the smallest and the largest share, as in 0.08,1", len(r))
	}
	switch r := f.RandAugment; len(r) {
	case 0:
	case 2:
		train.RandAugment = &data.RandAugment{Ops: r[0], Magnitude: r[1]}
	default:
		return train, eval, fmt.Errorf("--rand-augment has %d numbers: give the operations and their magnitude, as in 2,9", len(r))
	}
	if f.Erase != 0 {
		train.Erase = data.RandomErasing(f.Erase)
	}
	switch j := f.Jitter; len(j) {
	case 0:
	case 4:
		train.Jitter = &data.ColorJitter{Brightness: j[0], Contrast: j[1], Saturation: j[2], Hue: j[3]}
	default:
		return train, eval, fmt.Errorf("--jitter has %d numbers: give four, as in 0.2,0.2,0.2,0.05", len(j))
	}
	return train, eval, nil
}

// announce says what is trained on, and what the images go through, each line
// with name before it.
func announce(a *app, j fit.Job, name string) {
	held := ""
	if n := j.Data.HeldOut; n > 0 {
		held = fmt.Sprintf(", %d of them held out from training", n)
	}
	of := func(s *data.Split) int {
		if s == nil {
			return 0
		}
		return s.Len()
	}
	a.console.line(fmt.Sprintf("%s%s: %d classes, %d images for training, %d for validation%s",
		name, j.Data.Name, len(j.Data.Classes), of(j.Data.Train), of(j.Data.Val), held))
	train := j.Config.Train.Describe()
	if a := j.Config.MixupAlpha; a > 0 {
		train += fmt.Sprintf(", mixed in pairs by Beta(%g,%g)", a, a)
	}
	if a := j.Config.CutMixAlpha; a > 0 {
		train += fmt.Sprintf(", rectangles cut from others by Beta(%g,%g)", a, a)
	}
	if j.Config.BalancedSampling {
		train += ", every class drawn as often"
	}
	a.console.line(name + "training images:   " + train)
	a.console.line(name + "evaluation images: " + j.Config.Eval.Describe())
}
