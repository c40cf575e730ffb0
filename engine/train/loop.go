package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/potstill/potstill/engine"
)

// epoch does what is left of the current epoch, evaluates, and saves.
func (t *Trainer) epoch(ctx context.Context) error {
	if t.pos.Batch < t.loader.Steps() {
		if err := t.trainEpoch(ctx); err != nil {
			return err
		}
	}
	ev, err := t.evaluate(ctx)
	if err != nil {
		if ctx.Err() != nil && !isDevice(err) {
			return t.interrupted(ctx)
		}
		return t.failed(err)
	}
	if !finite(ev.Loss) {
		return t.diverged("loss", ev.Loss, t.pos.Epoch+1, 0)
	}
	info := t.finishEpoch(ev)
	if info.Best {
		if err := t.save(KindBest); err != nil {
			return err
		}
	}
	if err := t.save(KindLast); err != nil {
		return err
	}
	if t.hooks.Logger != nil {
		t.hooks.Logger.Debug("epoch", "epoch", info.Epoch, "train_loss", info.TrainLoss, "val_loss", info.ValLoss,
			"val_accuracy", info.ValAccuracy, "lr", info.LR, "images_per_second", info.ImagesPerSecond)
	}
	if t.hooks.Epoch != nil {
		info.Confusion = ev.Confusion
		t.hooks.Epoch(info)
	}
	return nil
}

// finishEpoch turns the epoch's sums into an entry of the history.
func (t *Trainer) finishEpoch(ev *Evaluation) EpochInfo {
	p := t.part
	info := EpochInfo{
		Epoch: t.pos.Epoch + 1, Step: t.pos.Update,
		TrainLoss: p.Loss / float64(p.Images), TrainAccuracy: float64(p.Correct) / float64(p.Images),
		ValLoss: ev.Loss, ValAccuracy: ev.Top1, LR: t.schedule.LR(t.pos.Update - 1),
		Seconds: p.Seconds, ImagesPerSecond: rate(p.Images, p.Seconds), GradNorm: p.Norm / float64(p.Steps),
	}
	b := t.best()
	info.Best = b == nil || info.ValAccuracy > b.ValAccuracy
	t.history = append(t.history, info)
	t.pos.Epoch, t.pos.Batch, t.part = t.pos.Epoch+1, 0, partial{}
	return info
}

// evaluate measures the weights, or their averages, on the validation images.
func (t *Trainer) evaluate(ctx context.Context) (*Evaluation, error) {
	if err := t.syncCounters(); err != nil {
		return nil, err
	}
	if t.evalStore != t.store {
		averaged := make(map[*engine.Variable]*engine.Variable, len(t.state.ema))
		for i, v := range t.state.source {
			averaged[v] = t.state.ema[i]
		}
		for _, v := range t.vars {
			src := v
			if e := averaged[v]; e != nil {
				src = e
			}
			if err := copyVariable(t.evalStore, v, t.store, src); err != nil {
				return nil, err
			}
		}
	}
	return t.evaluator.Run(ctx, t.ds.Val, nil)
}

// interrupted saves and says how to resume.
func (t *Trainer) interrupted(ctx context.Context) error {
	if err := t.drain(); err != nil {
		return err
	}
	where := fmt.Sprintf("stopped in epoch %d of %d after step %d of %d",
		t.pos.Epoch+1, t.c.Epochs, t.groupOf(t.pos.Batch), t.groups())
	if t.hooks.Save == nil {
		return fmt.Errorf("%s; nothing was saved: %w", where, ctx.Err())
	}
	if err := t.save(KindLast); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return fmt.Errorf("%s and saved; resume from the %q snapshot to continue exactly there: %w", where, KindLast, ctx.Err())
}

// trainEpoch runs the steps that are left of the current epoch. A step, once
// begun, is finished whatever becomes of ctx, for a half one could not be
// resumed exactly.
func (t *Trainer) trainEpoch(ctx context.Context) error {
	if ctx.Err() != nil {
		return t.interrupted(ctx)
	}
	inner := context.WithoutCancel(ctx)
	batches := t.loader.Epoch(inner, t.pos.Epoch, t.pos.Batch)
	defer batches.Close()
	t.next = t.pos
	t.clock.start(t.part.Seconds)
	for t.next.Batch < t.loader.Steps() {
		if err := t.group(inner, batches); err != nil {
			return err
		}
		every := t.c.SaveEvery
		due := every > 0 && t.next.Update%every == 0 && t.next.Batch < t.loader.Steps()
		if due {
			if err := t.drain(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return t.interrupted(ctx)
		}
		if due {
			if err := t.save(KindLast); err != nil {
				return err
			}
			t.clock.start(t.part.Seconds) // saving is not training
		}
	}
	if err := t.drain(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return t.interrupted(ctx)
	}
	return nil
}

// A clock counts the seconds of an epoch that are spent in training.
type clock struct {
	begin  time.Time
	before float64
}

func (c *clock) start(before float64) { c.begin, c.before = time.Now(), before }

func (c *clock) seconds() float64 { return c.before + time.Since(c.begin).Seconds() }

func (t *Trainer) report() {
	if t.hooks.Step == nil {
		return
	}
	t.hooks.Step(StepInfo{
		Epoch: t.pos.Epoch + 1, Step: t.groupOf(t.pos.Batch), Steps: t.groups(), Update: t.pos.Update,
		Loss: t.lastLoss, LR: t.schedule.LR(t.pos.Update - 1), GradNorm: t.lastNorm,
		ImagesPerSecond: rate(t.part.Images, t.part.Seconds),
	})
}

// imagesIn returns the images in k batches from batch at on.
func (t *Trainer) imagesIn(at, k int) int {
	n := k * t.c.Batch
	if at+k == t.loader.Steps() && !t.c.DropLast {
		n = t.ds.Train.Len() - at*t.c.Batch
	}
	return n
}

func rate(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}
