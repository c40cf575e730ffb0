package train

import (
	"context"
	"errors"
	"fmt"
)

// epoch does what is left of the current epoch, evaluates, and saves.
func (t *Trainer) epoch(ctx context.Context) error {
	l := t.ledger
	if l.pos.Batch < l.batches {
		if err := t.trainEpoch(ctx); err != nil {
			return err
		}
	}
	if err := t.syncCounters(); err != nil {
		return t.failed(err)
	}
	ev, err := t.judge.run(ctx)
	if err != nil {
		if ctx.Err() != nil && t.c.Peers == nil && !isDevice(err) {
			return t.interrupted(ctx)
		}
		return t.failed(err)
	}
	if !finite(ev.Loss) {
		return l.diverged("loss", ev.Loss, l.pos.Epoch+1, 0)
	}
	info := l.finish(ev)
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

// interrupted saves and says how to resume.
func (t *Trainer) interrupted(ctx context.Context) error {
	if err := t.drain(); err != nil {
		return err
	}
	l := t.ledger
	where := fmt.Sprintf("stopped in epoch %d of %d after step %d of %d",
		l.pos.Epoch+1, t.c.Epochs, l.stepsOf(l.pos.Batch), l.steps())
	if t.hooks.Save == nil {
		return fmt.Errorf("%s; nothing was saved: %w", where, cause(ctx))
	}
	if err := t.save(KindLast); err != nil {
		return errors.Join(err, cause(ctx))
	}
	return fmt.Errorf("%s and saved; resume from the %q snapshot to continue exactly there: %w", where, KindLast, cause(ctx))
}

// cause is why a run stops: ctx's error, or that of another rank's.
func cause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.Canceled
}

// trainEpoch runs the steps that are left of the current epoch. A step, once
// begun, is finished whatever becomes of ctx, for a half one could not be
// resumed exactly.
func (t *Trainer) trainEpoch(ctx context.Context) error {
	if t.stopping(ctx) {
		return t.interrupted(ctx)
	}
	inner := context.WithoutCancel(ctx)
	l, next := t.ledger, &t.flights.next
	batches := t.source.epoch(inner, l.pos.Epoch, l.pos.Batch)
	defer batches.Close()
	*next = l.pos
	l.clock.start(l.part.Seconds)
	for next.Batch < l.batches {
		if err := t.group(inner, batches); err != nil {
			return err
		}
		every := t.c.SaveEvery
		due := every > 0 && next.Update%every == 0 && next.Batch < l.batches
		if due {
			if err := t.drain(); err != nil {
				return err
			}
		}
		if t.stopping(ctx) {
			return t.interrupted(ctx)
		}
		if due {
			if err := t.save(KindLast); err != nil {
				return err
			}
			l.clock.start(l.part.Seconds) // saving is not training
		}
	}
	if err := t.drain(); err != nil {
		return err
	}
	if t.stopping(ctx) {
		return t.interrupted(ctx)
	}
	return nil
}
