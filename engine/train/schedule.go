package train

import (
	"fmt"
	"math"
)

// The kinds of schedule.
const (
	Constant = "constant"
	StepDown = "step"
	Cosine   = "cosine"
	OneCycle = "onecycle"
)

// ScheduleConfig says how the learning rate moves. The formulas are those of
// torch.optim.lr_scheduler, with base the optimizer's LR and s the time since
// the end of the warm-up:
//
//	constant   base
//	step       base · Gamma^⌊s/StepSize⌋                               (StepLR)
//	cosine     MinLR + (base-MinLR)·(1+cos(π·s/S))/2                   (CosineAnnealingLR)
//	onecycle   from MaxLR/DivFactor to MaxLR in the first PctStart of
//	           the time, then to MaxLR/DivFactor/FinalDivFactor, along
//	           half cosines, or lines with Linear                      (OneCycleLR)
//
// S is the whole time after the warm-up. Time is measured in epochs for step and
// cosine, which is how PyTorch's schedulers are mostly used, and in steps for
// onecycle and wherever PerStep is set. OneCycleLR's momentum cycling is not
// done (cycle_momentum=False).
//
// During the first W steps of warm-up (Warmup, or WarmupEpochs in steps) the
// rate rises along a line from WarmupStart·base to base (LinearLR), and the
// schedule behind it starts afterwards (SequentialLR).
//
// A number whose zero would make no sense is given its default where it is
// zero; Gamma, whose zero does, where it is nil.
type ScheduleConfig struct {
	Kind         string  `json:"kind,omitempty"`          // "" means constant
	Warmup       int     `json:"warmup,omitempty"`        // steps
	WarmupEpochs float64 `json:"warmup_epochs,omitempty"` // used if Warmup is 0
	WarmupStart  float64 `json:"warmup_start,omitempty"`  // in (0, 1]; 0 means 1/3
	PerStep      bool    `json:"per_step,omitempty"`

	StepSize int      `json:"step_size,omitempty"` // epochs, or steps with PerStep; 0 means 30
	Gamma    *float64 `json:"gamma,omitempty"`     // from 0 up; nil means 0.1
	MinLR    float64  `json:"min_lr,omitempty"`    // at most the optimizer's LR

	MaxLR          float64 `json:"max_lr,omitempty"`           // 0 means the optimizer's LR
	PctStart       float64 `json:"pct_start,omitempty"`        // 0 means 0.3
	DivFactor      float64 `json:"div_factor,omitempty"`       // 0 means 25
	FinalDivFactor float64 `json:"final_div_factor,omitempty"` // 0 means 1e4
	Linear         bool    `json:"linear,omitempty"`
}

func (c ScheduleConfig) normalized() ScheduleConfig {
	def := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Kind == "" {
		c.Kind = Constant
	}
	if c.StepSize == 0 {
		c.StepSize = 30
	}
	def(&c.WarmupStart, 1.0/3)
	if c.Gamma == nil {
		c.Gamma = new(0.1)
	}
	def(&c.PctStart, 0.3)
	def(&c.DivFactor, 25)
	def(&c.FinalDivFactor, 1e4)
	c.PerStep = c.PerStep || c.Kind == OneCycle
	return c
}

// Validate reports the first setting that makes no sense.
func (c ScheduleConfig) Validate() error {
	switch c.Kind {
	case "", Constant, StepDown, Cosine, OneCycle:
	default:
		return fmt.Errorf("unknown schedule %q: there are %s, %s, %s, %s", c.Kind, Constant, StepDown, Cosine, OneCycle)
	}
	c = c.normalized()
	switch {
	case c.Warmup < 0 || !(c.WarmupEpochs >= 0) || math.IsInf(c.WarmupEpochs, 0):
		return fmt.Errorf("schedule: warm-up must not be negative: %d steps, %v epochs", c.Warmup, c.WarmupEpochs)
	case !(c.WarmupStart > 0 && c.WarmupStart <= 1):
		return fmt.Errorf("schedule: warm-up start must be in (0, 1], not %v", c.WarmupStart)
	case c.StepSize < 1:
		return fmt.Errorf("schedule: step size must be at least 1, not %d", c.StepSize)
	case !(*c.Gamma >= 0) || math.IsInf(*c.Gamma, 0):
		return fmt.Errorf("schedule: gamma must not be negative: %v", *c.Gamma)
	case !(c.MinLR >= 0) || !(c.MaxLR >= 0) || math.IsInf(c.MinLR+c.MaxLR, 0):
		return fmt.Errorf("schedule: learning rates must not be negative: min %v, max %v", c.MinLR, c.MaxLR)
	case !(c.PctStart > 0 && c.PctStart <= 1):
		return fmt.Errorf("schedule: pct start must be in (0, 1], not %v", c.PctStart)
	case !(c.DivFactor > 0) || !(c.FinalDivFactor > 0) || math.IsInf(c.DivFactor+c.FinalDivFactor, 0):
		return fmt.Errorf("schedule: div factors must be positive: %v, %v", c.DivFactor, c.FinalDivFactor)
	}
	return nil
}

// dependsOnLength reports whether the rate of a step depends on how many there
// will be.
func (c ScheduleConfig) dependsOnLength() bool { return c.Kind == Cosine || c.Kind == OneCycle }

// A Schedule gives the learning rate of every step of a run.
type Schedule struct {
	c        ScheduleConfig
	base     float64
	perEpoch int // steps an epoch
	warmup   int // steps
	steps    int // after the warm-up
}

// NewSchedule returns the schedule of a run of so many epochs and steps an
// epoch. Base is the optimizer's learning rate.
func NewSchedule(c ScheduleConfig, base float64, epochs, stepsPerEpoch int) (*Schedule, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if epochs < 1 || stepsPerEpoch < 1 {
		return nil, fmt.Errorf("schedule: a run of %d epochs of %d steps has no step", epochs, stepsPerEpoch)
	}
	c = c.normalized()
	if c.MaxLR == 0 {
		c.MaxLR = base
	}
	w := c.Warmup
	if w == 0 {
		w = int(math.Round(c.WarmupEpochs * float64(stepsPerEpoch)))
	}
	return &Schedule{c: c, base: base, perEpoch: stepsPerEpoch, warmup: w, steps: max(epochs*stepsPerEpoch-w, 1)}, nil
}

// LR returns the learning rate of step t, counted from 0.
func (s *Schedule) LR(t int) float64 {
	if t < s.warmup {
		return s.base * (s.c.WarmupStart + (1-s.c.WarmupStart)*float64(t)/float64(s.warmup))
	}
	now, end := t-s.warmup, s.steps
	if !s.c.PerStep {
		now, end = now/s.perEpoch, (end+s.perEpoch-1)/s.perEpoch
	}
	switch s.c.Kind {
	case StepDown:
		return s.base * math.Pow(*s.c.Gamma, float64(now/s.c.StepSize))
	case Cosine:
		return s.c.MinLR + (s.base-s.c.MinLR)*(1+math.Cos(math.Pi*float64(now)/float64(end)))/2
	case OneCycle:
		return s.oneCycle(float64(now), float64(end))
	}
	return s.base
}

// oneCycle is OneCycleLR with its two phases: up until peak, down until end-1.
func (s *Schedule) oneCycle(now, end float64) float64 {
	start := s.c.MaxLR / s.c.DivFactor
	peak, last := s.c.PctStart*end-1, end-1
	now = min(now, last)
	if now <= peak {
		return s.anneal(start, s.c.MaxLR, fraction(now, peak))
	}
	return s.anneal(s.c.MaxLR, start/s.c.FinalDivFactor, fraction(now-peak, last-peak))
}

// fraction is x/of, and 1 where there is no way to go.
func fraction(x, of float64) float64 {
	if of <= 0 {
		return 1
	}
	return x / of
}

func (s *Schedule) anneal(from, to, pct float64) float64 {
	if s.c.Linear {
		return from + (to-from)*pct
	}
	return to + (from-to)/2*(1+math.Cos(math.Pi*pct))
}
