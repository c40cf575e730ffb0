package fit

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
)

// An LRRange says which learning rates to try: from From to To in so many steps,
// each the same factor above the one before.
type LRRange struct {
	From, To float64
	Steps    int
}

// DefaultLRRange is from 1e-6 to 1 in 100 steps.
func DefaultLRRange() LRRange { return LRRange{From: 1e-6, To: 1, Steps: 100} }

// Validate reports a range that makes no sense.
func (r LRRange) Validate() error {
	if !(r.From > 0 && r.From < r.To) || math.IsInf(r.To, 0) || r.Steps < minSteps {
		return fmt.Errorf("learning rates from %g to %g in %d steps: they must rise from a positive one, in at least %d steps", r.From, r.To, r.Steps, minSteps)
	}
	return nil
}

const (
	minSteps  = 10
	momentum  = 0.98 // of the loss's average
	diverging = 4    // so many times the lowest loss ends the search
)

// An LRPoint is one step of a search.
type LRPoint struct {
	LR     float64 `json:"lr"`
	Loss   float64 `json:"loss"`
	Smooth float64 `json:"smooth"` // the exponential average of the losses so far
}

// An LRFinding is what a search has come to.
type LRFinding struct {
	Points []LRPoint `json:"points"`
	// Steepest is the learning rate at which the averaged loss falls fastest over
	// the logarithm of the rate, and Lowest the one at which it is lowest. The
	// first is a rate to train with; one tenth of the second is another.
	Steepest float64 `json:"steepest"`
	Lowest   float64 `json:"lowest"`
	// Diverged says that the loss rose to several times its lowest before the
	// last rate was reached.
	Diverged bool `json:"diverged"`
}

// FindLR searches a learning rate for a job by the range test of L. N. Smith
// ("Cyclical learning rates for training neural networks", WACV 2017): it trains
// with a rate that rises exponentially from step to step and watches the loss,
// until that is four times its lowest. Nothing is written; the job's folder,
// epochs and schedule are left out of account.
func FindLR(ctx context.Context, b engine.Backend, j Job, r LRRange) (*LRFinding, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &LRFinding{}
	watch := j.Step
	over := false
	best := math.Inf(1)
	j.Step = func(i train.StepInfo) {
		if over {
			return // a device that works ahead has begun one more
		}
		f.add(i.LR, i.Loss)
		last := f.Points[len(f.Points)-1].Smooth
		best = min(best, last)
		f.Diverged = len(f.Points) >= minSteps && last > diverging*best
		if over = f.Diverged || len(f.Points) == r.Steps; over {
			cancel()
		}
		if watch != nil {
			watch(i)
		}
	}
	j.Dir, j.Resume, j.Replace, j.Epoch, j.StepLog = "", false, false, nil, nil
	c := &j.Config
	c.Epochs, c.EMA, c.Patience, c.SaveEvery = r.Steps, 0, 0, 0 // an epoch has a step at least
	c.Optimizer.LR = r.From
	c.Schedule = train.ScheduleConfig{Kind: train.StepDown, PerStep: true, StepSize: 1, Gamma: new(math.Pow(r.To/r.From, 1/float64(r.Steps-1)))}
	_, err := Run(ctx, b, j)
	var diverged *train.DivergedError
	switch {
	case over, err == nil:
	case errors.As(err, &diverged) && len(f.Points) >= minSteps:
		f.Diverged = true
	default:
		return nil, err
	}
	f.judge()
	return f, nil
}

// add appends a step; the average is corrected for its beginning at 0.
func (f *LRFinding) add(lr, loss float64) {
	n, before := len(f.Points), 0.0
	if n > 0 {
		before = f.Points[n-1].Smooth * (1 - math.Pow(momentum, float64(n)))
	}
	sum := momentum*before + (1-momentum)*loss
	f.Points = append(f.Points, LRPoint{LR: lr, Loss: loss, Smooth: sum / (1 - math.Pow(momentum, float64(n+1)))})
}

// judge finds the steepest fall before the lowest loss, by the slope over two
// steps, and not in the first tenth, where the average has little to go by.
func (f *LRFinding) judge() {
	low := 0
	for i, p := range f.Points {
		if p.Smooth < f.Points[low].Smooth {
			low = i
		}
	}
	f.Lowest, f.Steepest = f.Points[low].LR, f.Points[low].LR
	least := 0.0
	for i := max(1, len(f.Points)/10); i < low && i+1 < len(f.Points); i++ {
		if slope := f.Points[i+1].Smooth - f.Points[i-1].Smooth; slope < least {
			least, f.Steepest = slope, f.Points[i].LR
		}
	}
}
