package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/potstill/potstill/engine"
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
func (l *ledger) diverged(what string, loss float64, epoch, step int) error {
	e := &DivergedError{Epoch: epoch, Step: step, Loss: loss, What: what}
	lr := l.schedule.LR(max(l.pos.Update-1, 0))
	switch {
	case what == "loss" && epoch == 1 && step == 1: // computed before any weight had moved
		e.Hint = "no weight had moved yet, so no learning rate helps: the weights that the run began with do not suit these images, or are broken"
	case l.c.Optimizer.Kind == Stale:
		e.Hint = "the weights were not finite to begin with, or the images are not"
	case l.c.Optimizer.Kind != SGD && *l.c.Optimizer.Eps == 0:
		e.Hint = "eps is 0, so that weights without a gradient are divided by zero; give a small number, as in 1e-8"
	case l.c.ClipNorm == 0:
		e.Hint = fmt.Sprintf("try a learning rate below %.3g, or gradient clipping at a norm of 1", lr)
	default:
		e.Hint = fmt.Sprintf("try a learning rate below %.3g, or clipping below %.3g", lr, l.c.ClipNorm)
	}
	return e
}

// A DeviceError says that the device has failed in the middle of a run. Nothing
// has been saved since: the last snapshot is good. Many failures are for good,
// as far as the process is concerned; another process may go on.
type DeviceError struct {
	Device      string // the backend's name
	Epoch       int    // from 1; 0 outside of training
	Step, Steps int    // the steps that were done in the epoch, and that it has
	// Saved says when the last "last" snapshot was taken; empty if none was.
	Saved string
	// Checkpoint names the file of that snapshot. The trainer, which knows of no
	// files, leaves it empty.
	Checkpoint string
	Err        error
}

// Error implements error.
func (e *DeviceError) Error() string {
	s := e.Device + " failed"
	var peer *engine.PeerError
	if errors.As(e.Err, &peer) {
		s = fmt.Sprintf("rank %d failed", peer.Rank)
	}
	if e.Epoch > 0 {
		s += fmt.Sprintf(" in epoch %d after step %d of %d", e.Epoch, e.Step, e.Steps)
	}
	s += ": " + strings.ReplaceAll(strings.TrimPrefix(e.Err.Error(), e.Device+": "), "\n", "; ")
	switch {
	case e.Epoch == 0:
		return s
	case e.Checkpoint != "":
		return s + fmt.Sprintf("; start the program again and resume from %s, the last good checkpoint", e.Checkpoint)
	case e.Saved != "":
		return s + fmt.Sprintf("; start the program again and resume from the %q snapshot, which was taken %s", KindLast, e.Saved)
	}
	return s + "; nothing had been saved: start the run again"
}

// Unwrap returns the backend's error.
func (e *DeviceError) Unwrap() error { return e.Err }

// fault makes a *DeviceError of an error that has come of running a program or
// of reading and writing the device's memory.
func fault(b engine.Backend, err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, engine.ErrShape):
		return err
	}
	return &DeviceError{Device: b.Name(), Err: err}
}

// failed says in a *DeviceError where the run was and what is left of it. It
// leaves other errors alone.
func (t *Trainer) failed(err error) error {
	var d *DeviceError
	if !errors.As(err, &d) {
		return err
	}
	l := t.ledger
	d.Epoch, d.Step, d.Steps = l.pos.Epoch+1, l.stepsOf(l.pos.Batch), l.steps()
	if at := t.saved; at != nil {
		d.Saved = fmt.Sprintf("at the end of epoch %d", at.Epoch)
		if at.Batch > 0 {
			d.Saved = fmt.Sprintf("after step %d of epoch %d", l.stepsOf(at.Batch), at.Epoch+1)
		}
	}
	return d
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
