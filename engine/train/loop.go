package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
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
		if ctx.Err() != nil {
			return t.interrupted(ctx)
		}
		return err
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

// interrupted saves and says how to go on.
func (t *Trainer) interrupted(ctx context.Context) error {
	where := fmt.Sprintf("stopped in epoch %d of %d after step %d of %d",
		t.pos.Epoch+1, t.c.Epochs, t.groupOf(t.pos.Batch), t.groups())
	if t.hooks.Save == nil {
		return fmt.Errorf("%s; nothing was saved: %w", where, ctx.Err())
	}
	if err := t.save(KindLast); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return fmt.Errorf("%s and saved; resume from the %q snapshot to go on exactly there: %w", where, KindLast, ctx.Err())
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
	begin, before := time.Now(), t.part.Seconds
	for t.pos.Batch < t.loader.Steps() {
		if err := t.group(inner, batches); err != nil {
			return err
		}
		t.part.Seconds = before + time.Since(begin).Seconds()
		t.report()
		if ctx.Err() != nil {
			return t.interrupted(ctx)
		}
		if every := t.c.SaveEvery; every > 0 && t.pos.Update%every == 0 && t.pos.Batch < t.loader.Steps() {
			if err := t.save(KindLast); err != nil {
				return err
			}
			begin, before = time.Now(), t.part.Seconds // saving is not training
		}
	}
	return nil
}

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

// group does one step: Accumulate batches, or what is left of the epoch, and
// the optimiser.
func (t *Trainer) group(ctx context.Context, batches *data.Epoch) error {
	t.c.Optimizer.hyper(t.scalars.hyper, t.schedule.LR(t.pos.Update), t.pos.Update)
	u := float32(t.pos.Update)
	t.scalars.decay[0] = min(t.c.EMA, (1+u)/(10+u))
	k := min(t.c.Accumulate, t.loader.Steps()-t.pos.Batch)
	images := t.imagesIn(t.pos.Batch, k)
	var loss float64
	for i := range k {
		b, err := batches.Next()
		if err == io.EOF {
			return fmt.Errorf("the epoch ended after %d of %d batches", t.pos.Batch, t.loader.Steps())
		}
		if err != nil {
			return err
		}
		t.scalars.first[0] = 0
		if i == 0 {
			t.scalars.first[0] = 1
		}
		l, err := t.batch(ctx, b, images)
		if err != nil {
			return err
		}
		loss += l * float64(b.N) / float64(images)
	}
	t.lastLoss = loss
	if t.c.Accumulate > 1 {
		if err := t.optimizeAccumulated(ctx); err != nil {
			return err
		}
	}
	t.lastStep = [2]int{t.pos.Epoch + 1, t.part.Steps + 1}
	t.part.Norm += t.lastNorm
	t.part.Steps++
	t.pos.Update++
	return nil
}

// imagesIn returns the images in k batches from batch at on.
func (t *Trainer) imagesIn(at, k int) int {
	n := k * t.c.Batch
	if at+k == t.loader.Steps() && !t.c.DropLast {
		n = t.ds.Train.Len() - at*t.c.Batch
	}
	return n
}

// batch sends one batch through the net; images is the number of those that
// share its step. It returns the loss.
func (t *Trainer) batch(ctx context.Context, b *data.Batch, images int) (float64, error) {
	weight := float32(1)
	if t.c.Accumulate > 1 {
		weight = float32(b.N) / float32(images)
	}
	s, err := t.step(b, weight)
	if err != nil {
		return 0, err
	}
	t.scalars.batchNumber(t.pos.Batches)
	if err := s.run(ctx, b); err != nil {
		return 0, err
	}
	loss := float64(s.lossHost[0])
	if !finite(loss) {
		return 0, t.diverged("loss", loss, t.pos.Epoch+1, t.part.Steps+1)
	}
	if err := t.takeNorm(s, loss); err != nil {
		return 0, err
	}
	t.part.Loss += loss * float64(b.N)
	t.part.Correct += correct(s.logitsHost, b.Labels[:b.N], t.classes)
	t.part.Images += b.N
	t.pos.Batch++
	t.pos.Batches++
	return loss, nil
}

// optimizeAccumulated runs the optimiser on the accumulated gradients.
func (t *Trainer) optimizeAccumulated(ctx context.Context) error {
	if t.optimize == nil {
		b := engine.NewBuilder(engine.NewGraph())
		s := &step{in: make(engine.Bindings)}
		t.update(b, s, t.pick(b, nil, t.state.accs))
		if err := t.compile(b, s); err != nil {
			return fmt.Errorf("optimiser step: %w", err)
		}
		t.optimize = s
	}
	if err := t.optimize.run(ctx, nil); err != nil {
		return err
	}
	return t.takeNorm(t.optimize, t.lastLoss)
}

// takeNorm keeps the gradient's norm, if the step has measured it.
func (t *Trainer) takeNorm(s *step, loss float64) error {
	if s.norm == nil {
		return nil
	}
	t.lastNorm = float64(s.normHost[0])
	if !finite(t.lastNorm) {
		return t.diverged("the gradient's norm", loss, t.pos.Epoch+1, t.part.Steps+1)
	}
	return nil
}

func rate(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}
