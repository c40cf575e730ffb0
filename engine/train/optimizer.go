package train

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

// The kinds of optimizer.
const (
	AdamW = "adamw"
	Adam  = "adam"
	SGD   = "sgd"
	Stale = "stale"
)

// OptimizerConfig selects an optimizer, each with PyTorch's update rule (see
// [engine.Adam] and [engine.SGD]):
//
//	adamw   torch.optim.AdamW: weight decay apart from the gradient
//	adam    torch.optim.Adam: weight decay added to the gradient
//	sgd     torch.optim.SGD, with Momentum and Nesterov
//	stale   parameters never move
//
// "stale" is the published fine-tuning of the study: there the optimizer had
// been built for another net, so that a training step moved nothing but
// BatchNorm's running statistics. No gradient is computed.
//
// Weight decay acts on every parameter that is trained.
//
// The zero value of a field is a value like any other, except for Kind and for
// the pointers: where zero makes sense and is not the default, a pointer tells
// "zero" from "not given".
type OptimizerConfig struct {
	Kind        string      `json:"kind,omitempty"` // "" means adamw
	LR          float64     `json:"lr"`
	WeightDecay float64     `json:"weight_decay"`
	Betas       *[2]float64 `json:"betas"`    // of Adam, each in [0, 1); nil means 0.9 and 0.999
	Eps         *float64    `json:"eps"`      // of Adam, from 0 up; nil means 1e-8
	Momentum    float64     `json:"momentum"` // of SGD, in [0, 1)
	Nesterov    bool        `json:"nesterov"`
	// DOT, if not nil, is the Δ of the Distillation-Oriented Trainer (Zhao, Cui, Song
	// and Liang, arXiv:2305.09651) for SGD with momentum μ. The gradients of the terms
	// that imitate a teacher (Term.Imitation) and those of the others, the task's, each
	// have a momentum buffer, in PyTorch's rule with λ as weight decay:
	//
	//	a ← (μ-Δ)·a + g_task + λ·p    k ← (μ+Δ)·k + g_imitation    p ← p - lr·(a+k)
	//
	// A parameter that has one of the two gradients alone is moved as by SGD.
	DOT *float64 `json:"dot,omitempty"`
	// LRScale multiplies the learning rate of the variables that it names, as
	// PyTorch's parameter groups do; of the others the factor is 1.
	LRScale map[string]float64 `json:"lr_scale,omitempty"`
}

func (c OptimizerConfig) normalized() OptimizerConfig {
	if c.Kind == "" {
		c.Kind = AdamW
	}
	if c.Betas == nil {
		c.Betas = &[2]float64{0.9, 0.999}
	}
	if c.Eps == nil {
		c.Eps = new(1e-8)
	}
	return c
}

// Validate reports the first setting that makes no sense.
func (c OptimizerConfig) Validate() error {
	c = c.normalized()
	switch c.Kind {
	case AdamW, Adam, SGD, Stale:
	default:
		return fmt.Errorf("unknown optimizer %q: there are %s, %s, %s, %s", c.Kind, AdamW, Adam, SGD, Stale)
	}
	switch {
	case !(c.LR >= 0) || math.IsInf(c.LR, 0):
		return fmt.Errorf("optimizer: the learning rate must not be negative: %v", c.LR)
	case c.LR == 0 && c.Kind != Stale:
		return fmt.Errorf("optimizer: a learning rate of 0 moves nothing; the study's %q mode is meant for that", Stale)
	case !(c.WeightDecay >= 0) || math.IsInf(c.WeightDecay, 0):
		return fmt.Errorf("optimizer: weight decay must not be negative: %v", c.WeightDecay)
	case !(c.Betas[0] >= 0 && c.Betas[0] < 1 && c.Betas[1] >= 0 && c.Betas[1] < 1):
		return fmt.Errorf("optimizer: betas must be in [0, 1): %v", *c.Betas)
	case !(*c.Eps >= 0) || math.IsInf(*c.Eps, 0):
		return fmt.Errorf("optimizer: eps must not be negative: %v", *c.Eps)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fmt.Errorf("optimizer: momentum must be in [0, 1): %v", c.Momentum)
	case c.Nesterov && c.Momentum == 0:
		return fmt.Errorf("optimizer: nesterov needs a momentum")
	case c.DOT != nil && (c.Kind != SGD || c.Nesterov):
		return fmt.Errorf("optimizer: the two momentum buffers of dot belong to %s without nesterov; name it, or leave dot out", SGD)
	case c.DOT != nil && !(*c.DOT > 0 && *c.DOT <= c.Momentum && c.Momentum+*c.DOT < 1):
		return fmt.Errorf("optimizer: dot's delta is above 0, at most the momentum, and below 1 together with it: delta %v, momentum %v", *c.DOT, c.Momentum)
	}
	for _, name := range slices.Sorted(maps.Keys(c.LRScale)) {
		if f := c.LRScale[name]; !(f >= 0) || math.IsInf(f, 0) {
			return fmt.Errorf("optimizer: the learning rate of %s cannot be multiplied by %v; give a number from 0 up", name, f)
		}
	}
	return nil
}

// slots returns the names, after PyTorch's, of the state that the optimizer
// keeps for each parameter.
func (c OptimizerConfig) slots() []string {
	switch {
	case c.Kind == AdamW || c.Kind == Adam:
		return []string{"exp_avg", "exp_avg_sq"}
	case c.DOT != nil:
		return []string{"momentum_buffer", "momentum_kd_buffer"}
	case c.Kind == SGD && c.Momentum != 0:
		return []string{"momentum_buffer"}
	}
	return nil
}

// op returns the engine's operator for k parameters.
func (c OptimizerConfig) op(k int) engine.Op {
	if c.Kind == SGD {
		return engine.SGD{K: k, Momentum: float32(c.Momentum), Nesterov: c.Nesterov}
	}
	return engine.Adam{K: k, Beta1: float32(c.Betas[0]), Beta2: float32(c.Betas[1]), Eps: float32(*c.Eps), Decoupled: c.Kind == AdamW}
}

// factor returns what the learning rate of a variable is multiplied by.
func (c OptimizerConfig) factor(v *engine.Variable) float64 {
	if f, ok := c.LRScale[v.Name]; ok {
		return f
	}
	return 1
}

// hyper fills in what changes from step to step. T counts the steps from 0.
func (c OptimizerConfig) hyper(dst []float32, lr float64, t int) {
	n := float64(t + 1)
	dst[engine.HyperLR] = float32(lr)
	dst[engine.HyperWeightDecay] = float32(c.WeightDecay)
	dst[engine.HyperBias1] = float32(1 - math.Pow(c.Betas[0], n))
	dst[engine.HyperBias2] = float32(1 - math.Pow(c.Betas[1], n))
	dst[engine.HyperFirst] = 0
	if t == 0 {
		dst[engine.HyperFirst] = 1
	}
}

// A state is what the trainer keeps on the device beside the net: for every
// parameter the optimizer's slots and the accumulated gradient, for every
// float32 variable of the net that moves its average.
type state struct {
	params []*engine.Variable   // what is trained: the net's, and the objective's
	own    []*engine.Variable   // the objective's, trained or not
	slots  [][]*engine.Variable // [slot][parameter]
	accs   []*engine.Variable   // [parameter], only when accumulating
	source []*engine.Variable   // what is averaged
	ema    []*engine.Variable   // its averages
}

func newState(net Net, c Config) *state {
	s := &state{}
	tracker, tracks := net.(Tracker)
	for _, v := range net.Variables() {
		if v.Trainable {
			s.params = append(s.params, v)
		}
		if c.EMA > 0 && v.DType == engine.Float32 && !(tracks && !tracker.Moves(v)) {
			s.source = append(s.source, v)
			s.ema = append(s.ema, &engine.Variable{Name: "ema." + v.Name, Spec: v.Spec})
		}
	}
	s.own = c.Objective.State()
	for _, v := range s.own {
		if v.Trainable {
			s.params = append(s.params, v)
		}
	}
	like := func(prefix string) []*engine.Variable {
		out := make([]*engine.Variable, len(s.params))
		for i, p := range s.params {
			out[i] = &engine.Variable{Name: prefix + "." + p.Name, Spec: p.Spec}
		}
		return out
	}
	for _, slot := range c.Optimizer.slots() {
		s.slots = append(s.slots, like("optimizer."+slot))
	}
	if c.perStep() > 1 {
		s.accs = like("accumulated")
	}
	return s
}

// kept returns the variables that a snapshot holds beside the net's. The
// accumulators are not among them: between two steps they hold nothing.
func (s *state) kept() []*engine.Variable {
	var out []*engine.Variable
	for _, slot := range s.slots {
		out = append(out, slot...)
	}
	return append(append(out, s.ema...), s.own...)
}
