package study

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/engine/yamldoc"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Settings say how a step trains. What is left out comes from the recipe's
// defaults, and what they leave out from the study's recipe (hw7.md): AdamW, lr
// 1e-3, weight decay 0.01, batches of 32, T = 20, α = 0.5, a random crop, flip
// and rotation by ±15°.
type Settings struct {
	Epochs         *int      `yaml:"epochs"`
	Batch          *int      `yaml:"batch"`
	Seed           *uint64   `yaml:"seed"`
	Optimizer      *string   `yaml:"optimizer"` // adamw, adam, sgd, or stale: nothing but BatchNorm's statistics moves
	LR             *float64  `yaml:"lr"`
	WeightDecay    *float64  `yaml:"weight_decay"`
	Betas          []float64 `yaml:"betas"`
	Eps            *float64  `yaml:"eps"`
	Momentum       *float64  `yaml:"momentum"`
	Nesterov       *bool     `yaml:"nesterov"`
	Schedule       *Schedule `yaml:"schedule"`
	ClipNorm       *float64  `yaml:"clip_norm"`
	Accumulate     *int      `yaml:"accumulate"`
	EMA            *float64  `yaml:"ema"`
	LabelSmoothing *float64  `yaml:"label_smoothing"`
	Mixup          *float64  `yaml:"mixup"`
	CutMix         *float64  `yaml:"cutmix"`
	ClassWeights   *Weights  `yaml:"class_weights"` // balanced, or a list of one number a class
	Sampling       *string   `yaml:"sampling"`      // balanced: every class as often
	Precision      *string   `yaml:"precision"`     // of activations in training: float32 or bfloat16
	Patience       *int      `yaml:"patience"`
	Freeze         []string  `yaml:"freeze"`   // patterns of tensors that are not trained: see layers.Model.Freeze
	Sparsity       *float64  `yaml:"sparsity"` // how strongly channels are drawn to 0 before a cut: see distill.Sparsity
	SparsityBy     *string   `yaml:"sparsity_by"`
	SparsityGrowth *float64  `yaml:"sparsity_growth"`
	LRScale        []string  `yaml:"lr_scale"` // PATTERN=FACTOR: tensors that learn faster or more slowly
	KD             *string   `yaml:"kd"`       // the loss of distill, as distill.Spec has it; else plain kd
	DOT            *float64  `yaml:"dot"`      // Δ of the two momentum buffers of distill: see train.OptimizerConfig
	Temperature    *float64  `yaml:"temperature"`
	Alpha          *float64  `yaml:"alpha"`
	TeacherPrec    *string   `yaml:"teacher_precision"` // of the teacher's activations: float32, bfloat16, int8, or as precision
	TeacherShares  *string   `yaml:"teacher_shares"`    // of several teachers: equal, or confidence (distill.Confidence)
	Augment        *Augment  `yaml:"augment"`
}

// Schedule is how the learning rate moves; see train.ScheduleConfig. What is
// left out has the default there; a zero that is written is taken as written.
type Schedule struct {
	Kind           string   `yaml:"kind"`
	Warmup         int      `yaml:"warmup"`
	WarmupEpochs   float64  `yaml:"warmup_epochs"`
	WarmupStart    *float64 `yaml:"warmup_start"`
	PerStep        bool     `yaml:"per_step"`
	StepSize       *int     `yaml:"step_size"`
	Gamma          *float64 `yaml:"gamma"`
	MinLR          float64  `yaml:"min_lr"`
	MaxLR          *float64 `yaml:"max_lr"`
	PctStart       *float64 `yaml:"pct_start"`
	DivFactor      *float64 `yaml:"div_factor"`
	FinalDivFactor *float64 `yaml:"final_div_factor"`
	Linear         bool     `yaml:"linear"`
}

// Augment is what training images go through; see data.Transform.
type Augment struct {
	Crop        bool        `yaml:"crop"`
	Padding     int         `yaml:"padding"`
	ResizedCrop *ScaleRatio `yaml:"random_resized_crop"`
	Flip        float64     `yaml:"flip"`
	Rotation    float64     `yaml:"rotation"`
	Jitter      *Jitter     `yaml:"jitter"`
	Perspective float64     `yaml:"perspective"`
	RandAugment *RandAug    `yaml:"rand_augment"`
	Erase       float64     `yaml:"erase"` // probability of random erasing
}

// RandAug is data.RandAugment; what is left out has torchvision's default.
type RandAug struct {
	Ops       *int `yaml:"ops"`
	Magnitude *int `yaml:"magnitude"`
}

// Weights are class weights: balanced, or one a class.
type Weights struct {
	balanced bool
	list     []float64
}

// DecodeNode implements yamldoc.NodeDecoder.
func (w *Weights) DecodeNode(n *yamldoc.Node) error {
	var word string
	if n.Decode(&word) == nil {
		if word != balanced {
			return n.Errorf("", "class_weights are %q, or a list of one number a class, not %q", balanced, word)
		}
		w.balanced = true
		return nil
	}
	return n.Decode(&w.list)
}

const balanced = "balanced"

// equal is the teacher_shares of teachers that count alike.
const equal = "equal"

// ScaleRatio are the ranges of a random resized crop.
type ScaleRatio struct {
	Scale []float64 `yaml:"scale"`
	Ratio []float64 `yaml:"ratio"`
}

// Jitter are the ranges of color jitter.
type Jitter struct {
	Brightness float64 `yaml:"brightness"`
	Contrast   float64 `yaml:"contrast"`
	Saturation float64 `yaml:"saturation"`
	Hue        float64 `yaml:"hue"`
}

// training is how a unit trains, resolved: what its key is made of.
type training struct {
	Config train.Config
	KD     *distill.Settings `json:",omitempty"` // of distill

	Freeze   []string      `json:",omitempty"`
	LRScales []fit.LRScale `json:",omitempty"`
	Sparsity float64       `json:",omitempty"`

	SparsityBy     string  `json:",omitempty"`
	SparsityGrowth float64 `json:",omitempty"`
}

// or returns the first value that is given, or last.
func or[T any](last T, given ...*T) T {
	for _, g := range given {
		if g != nil {
			return *g
		}
	}
	return last
}

// resolve merges the settings s of a step over the defaults d.
func (s Settings) resolve(d Settings, seed uint64, kd bool) (training, error) {
	var t training
	c := &t.Config
	c.Epochs = or(1, s.Epochs, d.Epochs)
	c.Batch = or(32, s.Batch, d.Batch)
	c.Seed = or(seed, s.Seed, d.Seed)
	c.Optimizer = train.OptimizerConfig{
		Kind: or(train.AdamW, s.Optimizer, d.Optimizer),
		LR:   or(1e-3, s.LR, d.LR), WeightDecay: or(0.01, s.WeightDecay, d.WeightDecay),
		Eps: new(or(1e-8, s.Eps, d.Eps)), Momentum: or(0, s.Momentum, d.Momentum), Nesterov: or(false, s.Nesterov, d.Nesterov),
		Betas: &[2]float64{0.9, 0.999},
	}
	betas := s.Betas
	if betas == nil {
		betas = d.Betas
	}
	if betas != nil {
		if len(betas) != 2 {
			return t, fmt.Errorf("betas are two numbers, not %d", len(betas))
		}
		c.Optimizer.Betas = (*[2]float64)(betas)
	}
	var err error
	if c.Schedule, err = or(Schedule{Kind: train.Constant}, s.Schedule, d.Schedule).config(); err != nil {
		return t, err
	}
	c.ClipNorm = float32(or(0, s.ClipNorm, d.ClipNorm))
	c.Accumulate = or(1, s.Accumulate, d.Accumulate)
	c.EMA = float32(or(0, s.EMA, d.EMA))
	c.LabelSmoothing = float32(or(0, s.LabelSmoothing, d.LabelSmoothing))
	c.MixupAlpha = or(0, s.Mixup, d.Mixup)
	c.CutMixAlpha = or(0, s.CutMix, d.CutMix)
	if w := or(Weights{}, s.ClassWeights, d.ClassWeights); w.balanced {
		c.BalancedWeights = true
	} else {
		for _, v := range w.list {
			c.ClassWeights = append(c.ClassWeights, float32(v))
		}
	}
	switch sampling := or("", s.Sampling, d.Sampling); sampling {
	case "":
	case balanced:
		c.BalancedSampling = true
	default:
		return t, fmt.Errorf("sampling is %q, or left out, not %q", balanced, sampling)
	}
	c.Patience = or(0, s.Patience, d.Patience)
	c.Precision = or("", s.Precision, d.Precision)
	c.Shuffle = true
	if kd {
		k := distill.DefaultSettings()
		t.KD = &distill.Settings{T: float32(or(float64(k.T), s.Temperature, d.Temperature)),
			Alpha: float32(or(float64(k.Alpha), s.Alpha, d.Alpha)), Precision: or("", s.TeacherPrec, d.TeacherPrec)}
		if text := or("", s.KD, d.KD); text != "" && s.Temperature == nil && s.Alpha == nil {
			t.KD.Spec = text
			*t.KD = t.KD.Normalized()
		} else if s.KD != nil {
			return t, fmt.Errorf("distillation: kd has the settings of each method; leave out temperature and alpha")
		}
		switch shares := or(equal, s.TeacherShares, d.TeacherShares); shares {
		case equal:
		case distill.Confidence:
			t.KD.Teachers = shares
		default:
			return t, fmt.Errorf("distillation: teacher_shares is %s or %s, not %q", equal, distill.Confidence, shares)
		}
		c.Optimizer.DOT = s.DOT
		if s.DOT == nil {
			c.Optimizer.DOT = d.DOT
		}
		if t.KD.Spec == "" && t.KD.T == 0 { // which distill.Settings takes for the default, where alpha is 0 too
			return t, fmt.Errorf("distillation: the temperature must be positive, not 0")
		}
		if err := t.KD.Validate(); err != nil {
			return t, err
		}
	}
	t.Sparsity, t.SparsityBy, t.SparsityGrowth = or(0, s.Sparsity, d.Sparsity), or("", s.SparsityBy, d.SparsityBy), or(0, s.SparsityGrowth, d.SparsityGrowth)
	if err := t.sparse().Validate(); err != nil {
		return t, err
	}
	t.Freeze = s.Freeze
	if t.Freeze == nil {
		t.Freeze = d.Freeze
	}
	scales := s.LRScale
	if scales == nil {
		scales = d.LRScale
	}
	if t.LRScales, err = parseScales(scales); err != nil {
		return t, err
	}
	a := or(Augment{Crop: true, Flip: 0.5, Rotation: 15}, s.Augment, d.Augment)
	c.Train, err = a.transform()
	return t, err
}

// sparse is what channels are drawn to 0 by.
func (t training) sparse() distill.Sparsity {
	return distill.Sparsity{Strength: t.Sparsity, By: t.SparsityBy, Growth: t.SparsityGrowth}
}

func parseScales(texts []string) (out []fit.LRScale, err error) {
	for _, text := range texts {
		x, err := fit.ParseLRScale(text)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// config refuses a written zero where the trainer would take it for the default.
func (s Schedule) config() (train.ScheduleConfig, error) {
	for key, v := range map[string]*float64{"warmup_start": s.WarmupStart, "max_lr": s.MaxLR, "pct_start": s.PctStart,
		"div_factor": s.DivFactor, "final_div_factor": s.FinalDivFactor} {
		if v != nil && *v == 0 {
			return train.ScheduleConfig{}, fmt.Errorf("schedule: %s must be positive, not 0; leave it out for the default", key)
		}
	}
	if s.StepSize != nil && *s.StepSize == 0 {
		return train.ScheduleConfig{}, fmt.Errorf("schedule: step_size must be at least 1, not 0; leave it out for the default")
	}
	return train.ScheduleConfig{
		Kind: s.Kind, Warmup: s.Warmup, WarmupEpochs: s.WarmupEpochs, WarmupStart: or(0, s.WarmupStart), PerStep: s.PerStep,
		StepSize: or(0, s.StepSize), Gamma: s.Gamma, MinLR: s.MinLR, MaxLR: or(0, s.MaxLR), PctStart: or(0, s.PctStart),
		DivFactor: or(0, s.DivFactor), FinalDivFactor: or(0, s.FinalDivFactor), Linear: s.Linear,
	}, nil
}

// transform returns the transform without size and normalization, which are
// the data's.
func (a Augment) transform() (data.Transform, error) {
	t := data.Transform{RandomCrop: a.Crop, Padding: a.Padding, HFlip: a.Flip, Rotation: a.Rotation, Perspective: a.Perspective}
	if a.Erase != 0 {
		t.Erase = data.RandomErasing(a.Erase)
	}
	if r := a.RandAugment; r != nil {
		t.RandAugment = &data.RandAugment{Ops: or(2, r.Ops), Magnitude: or(9, r.Magnitude)}
	}
	if a.Jitter != nil {
		j := data.ColorJitter(*a.Jitter)
		t.Jitter = &j
	}
	if r := a.ResizedCrop; r != nil {
		scale, ratio := r.Scale, r.Ratio
		if scale == nil {
			scale = []float64{0.08, 1}
		}
		if ratio == nil {
			ratio = []float64{3.0 / 4, 4.0 / 3}
		}
		if len(scale) != 2 || len(ratio) != 2 {
			return t, fmt.Errorf("scale and ratio of random_resized_crop are two numbers each, not %d and %d", len(scale), len(ratio))
		}
		t.RandomResizedCrop = &data.ScaleRatio{Scale: [2]float64(scale), Ratio: [2]float64(ratio)}
	}
	return t, nil
}

// place fits a transform to the data's size and normalization.
func (s DataSpec) place(t data.Transform) data.Transform {
	p := s.preprocess()
	t.Size, t.Width, t.Resize, t.Mean, t.Std = p.Size, p.Width, p.Resize, p.Mean, p.Std
	return t
}

// preprocess is what an image goes through in evaluation.
func (s DataSpec) preprocess() checkpoint.Preprocess {
	p := checkpoint.Preprocess{Size: s.Size, Width: s.Width, Resize: s.Resize}
	for _, v := range s.Mean {
		p.Mean = append(p.Mean, float32(v))
	}
	for _, v := range s.Std {
		p.Std = append(p.Std, float32(v))
	}
	return p
}

// validate reports what is wrong with t for images as in s.
func (t training) validate(s DataSpec) error {
	c := t.Config
	c.Train, c.Eval = s.place(c.Train), s.preprocess().Transform()
	return c.Validate()
}

// checkTeachers reports teachers of a step that its loss does not take.
func (t training) checkTeachers(s *Step) error {
	if t.KD == nil {
		return nil
	}
	for i, name := range s.Teacher {
		if slices.Contains(s.Teacher[:i], name) {
			return fmt.Errorf("distillation: the teacher %s is there twice; name it once", name)
		}
	}
	if s.TeacherShares != nil && len(s.Teacher) < 2 {
		return fmt.Errorf("distillation: teacher_shares weights several teachers; name them, as in teacher: [a, b]")
	}
	loss, err := t.KD.Loss()
	if err != nil {
		return err
	}
	return loss.CheckTeachers(len(s.Teacher))
}

// The keys that each kind of step takes, beside kind, rows and, where it
// trains, the settings.
var kindKeys = map[string][]string{
	kindTrain:    {"arch", "base", "widths", "from", "pretrained"},
	kindDistill:  {"arch", "base", "widths", "from", "teacher", "kd", "dot", "temperature", "alpha", "teacher_precision", "teacher_shares"},
	kindPrune:    {"from", "rate", "rounds", "curve"},
	kindEvaluate: {"from", "passes", "confusion", "mistakes"},
	kindImport:   {"file", "arch", "weights", "input"},
}

// kinds lists them as a person would.
func kinds() []string {
	all := []string{kindTrain, kindDistill}
	for _, k := range compress.Kinds() {
		all = append(all, k.Name)
	}
	return append(all, kindEvaluate, kindImport)
}

// trains reports whether a kind of step has a training run in it.
func trains(kind string) bool {
	k, ok := compress.Find(kind)
	return kind == kindTrain || kind == kindDistill || ok && k.Tuned
}
