package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A StepTimer runs the steps of a program one at a time, in their order and on the
// program's own memory, so that each finds the caches as the step before has left
// them. It is for measuring: the outputs are afterwards what Run makes of the same
// inputs. The program must outlive it, and its variables stay as they are.
type StepTimer struct {
	p     *Program
	parts []Recording // one a step; nil without a Recorder
}

// StepTimer returns a timer of the program, which must have been run.
func (p *Program) StepTimer() (t *StepTimer, err error) {
	if p.seen == nil {
		return nil, errors.New("a program must have been run before its steps are timed")
	}
	t = &StepTimer{p: p}
	r, ok := p.backend.(Recorder)
	if !ok {
		return t, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: recording steps: %w", p.backend.Name(), err), t.Close())
		}
	}()
	for i := range p.steps {
		part, err := r.Record(func() error { return enqueue(p.steps[i : i+1]) })
		if err != nil {
			return t, err
		}
		t.parts = append(t.parts, part)
	}
	return t, nil
}

// Steps takes the inputs, runs every step once, and appends to each step's seconds
// what it took, from its launch to its end: more than in a whole run, where
// nobody waits between two steps. seconds has one element a step of the Plan.
func (t *StepTimer) Steps(ctx context.Context, in Bindings, seconds [][]float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(seconds) != len(t.p.steps) {
		return fmt.Errorf("timing steps: %w: room for %d, the plan has %d", ErrShape, len(seconds), len(t.p.steps))
	}
	if err := t.upload(in); err != nil {
		return err
	}
	last := time.Now()
	for i := range t.p.steps {
		var err error
		if t.parts != nil {
			err = t.parts[i].Replay()
		} else {
			err = enqueue(t.p.steps[i : i+1])
		}
		if err == nil {
			err = t.p.backend.Sync()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.p.backend.Name(), err)
		}
		now := time.Now()
		seconds[i] = append(seconds[i], now.Sub(last).Seconds())
		last = now
	}
	for _, s := range t.p.writes {
		s.version++
	}
	return nil
}

// upload takes the inputs, whose way is not timed.
func (t *StepTimer) upload(in Bindings) error {
	err := t.p.upload(in, false)
	if err == nil {
		err = t.p.backend.Sync()
	}
	return err
}

// Whole runs all steps as Run does, and returns the seconds from the launch to the
// end: without the way of the inputs.
func (t *StepTimer) Whole(in Bindings) (float64, error) {
	if err := t.upload(in); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := t.p.launch(); err != nil {
		return 0, err
	}
	err := t.p.backend.Sync()
	return time.Since(begin).Seconds(), err
}

// Close frees what the timer has recorded. It may be called twice.
func (t *StepTimer) Close() error {
	var errs []error
	for _, r := range t.parts {
		errs = append(errs, r.Close())
	}
	t.parts = nil
	return errors.Join(errs...)
}
