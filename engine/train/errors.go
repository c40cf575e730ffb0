package train

import (
	"fmt"
	"math"
)

// A DivergedError says that training has run into a loss, a gradient or a
// weight that is NaN or infinite. No snapshot has been taken since: the last one
// is good.
type DivergedError struct {
	Epoch, Step int     // from 1; Step is 0 if evaluation met it
	Loss        float64 // the last loss
	What        string  // "loss", "gradient norm", or the name of a variable
	Hint        string  // what may help
	// Checkpoint names the last good checkpoint. The trainer, which knows of no
	// files, leaves it empty.
	Checkpoint string
}

// Error implements error.
func (e *DivergedError) Error() string {
	where := fmt.Sprintf("epoch %d, step %d", e.Epoch, e.Step)
	if e.Step == 0 {
		where = fmt.Sprintf("the evaluation after epoch %d", e.Epoch)
	}
	what := fmt.Sprintf("%s is not finite (loss %g)", e.What, e.Loss)
	if e.What == "loss" {
		what = fmt.Sprintf("the loss is %g", e.Loss)
	}
	s := fmt.Sprintf("training diverged at %s: %s; %s", where, what, e.Hint)
	if e.Checkpoint != "" {
		s += "; the last good checkpoint is " + e.Checkpoint
	}
	return s
}

// diverged returns the error for what went wrong. It names the settings that
// would help.
func (t *Trainer) diverged(what string, loss float64, epoch, step int) error {
	e := &DivergedError{Epoch: epoch, Step: step, Loss: loss, What: what}
	lr := t.schedule.LR(max(t.pos.Update-1, 0))
	switch {
	case t.c.Optimizer.Kind == Stale:
		e.Hint = "the weights were not finite to begin with, or the images are not"
	case t.c.ClipNorm == 0:
		e.Hint = fmt.Sprintf("try a learning rate below %.3g, or gradient clipping at a norm of 1", lr)
	default:
		e.Hint = fmt.Sprintf("try a learning rate below %.3g, or clipping below %.3g", lr, t.c.ClipNorm)
	}
	return e
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
