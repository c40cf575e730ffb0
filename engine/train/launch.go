package train

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// Where the device works on its own (engine.Pipeliner), the trainer launches a
// batch before it waits for the one before it, so that the device always has
// something to do: what a batch has come to is accounted for one launch late.
// next is the place up to which batches have been launched, pos that up to
// which they have been accounted for. They are the same wherever a snapshot is
// taken, the net is evaluated, or the run is left.

// A launch is one run of a program that has been started.
type launch struct {
	p      *program
	f      engine.Flight
	labels []int32 // of the batch; valid until the next but one is fetched
	n      int     // its images; 0: the optimizer's run, which has no batch
	images int     // those of the whole step
	ends   bool    // the last launch of its step
}

// group launches one step: Accumulate batches, or what is left of the epoch, and
// the optimizer.
func (t *Trainer) group(ctx context.Context, batches *data.Epoch) error {
	err := t.launchGroup(ctx, batches)
	if err != nil && len(t.flying) > 0 { // something went wrong before a launch
		if earlier := t.drain(); earlier != nil {
			return earlier
		}
	}
	return err
}

func (t *Trainer) launchGroup(ctx context.Context, batches *data.Epoch) error {
	k := min(t.c.Accumulate, t.loader.Steps()-t.next.Batch)
	images := t.imagesIn(t.next.Batch, k)
	for i := range k {
		b, err := batches.Next()
		if err == io.EOF {
			return fmt.Errorf("the epoch ended after %d of %d batches", t.next.Batch, t.loader.Steps())
		}
		if err != nil {
			return err
		}
		p, err := t.program(stepKey{b.N, b.H, b.W, b.C, t.weight(b.N, images)})
		if err != nil {
			return err
		}
		t.step.Tell(t.moment(i == 0))
		t.next.Batch++
		t.next.Batches++
		ends := t.c.Accumulate == 1
		if ends {
			t.next.Update++
		}
		if err := t.launch(ctx, b, launch{p: p, labels: b.Labels[:b.N], n: b.N, images: images, ends: ends}); err != nil {
			return err
		}
	}
	if t.c.Accumulate == 1 {
		return nil
	}
	p, err := t.optimizer()
	if err != nil {
		return err
	}
	t.step.Tell(t.moment(false))
	t.next.Update++
	return t.launch(ctx, nil, launch{p: p, ends: true})
}

// moment is that of the next launch.
func (t *Trainer) moment(first bool) Moment {
	return Moment{Update: t.next.Update, Batch: t.next.Batches, First: first, LR: t.schedule.LR(t.next.Update)}
}

// weight returns the share of a batch's gradient in that of its step.
func (t *Trainer) weight(n, images int) float32 {
	if t.c.Accumulate > 1 {
		return float32(n) / float32(images)
	}
	return 1
}

// launch starts a run, and accounts for earlier ones until no more are under way
// than may be.
func (t *Trainer) launch(ctx context.Context, b *data.Batch, l launch) error {
	var err error
	if l.f, err = l.p.start(ctx, b); err != nil {
		t.abandon()
		return t.failed(fault(t.store.Backend(), err))
	}
	t.flying = append(t.flying, l)
	ahead := 0
	if l.p.prog.Overlaps() {
		ahead = engine.Flights - 1
	}
	return t.account(ahead)
}

// drain waits and accounts for all that is under way.
func (t *Trainer) drain() error { return t.account(0) }

// account waits and accounts for the oldest launches until no more than so many
// are under way. After an error none is, and the others are not accounted for.
func (t *Trainer) account(left int) error {
	for len(t.flying) > left {
		l := t.flying[0]
		t.flying = t.flying[:copy(t.flying, t.flying[1:])]
		if err := t.settle(&l); err != nil {
			t.abandon()
			return err
		}
	}
	return nil
}

// abandon waits for all that is under way, whatever comes of it.
func (t *Trainer) abandon() {
	for i := range t.flying {
		_ = t.flying[i].f.Wait()
	}
	t.flying = t.flying[:0]
}

// settle accounts for one launch.
func (t *Trainer) settle(l *launch) error {
	if err := l.p.land(l.f); err != nil {
		return t.failed(fault(t.store.Backend(), err))
	}
	if l.n > 0 {
		loss := float64(l.p.lossHost[0])
		if !finite(loss) {
			return t.diverged("loss", loss, t.pos.Epoch+1, t.part.Steps+1)
		}
		if err := t.takeNorm(l.p, loss); err != nil {
			return err
		}
		t.part.Loss += loss * float64(l.n)
		t.part.Correct += correct(l.p.logitsHost, l.labels, t.classes)
		t.part.Images += l.n
		t.pos.Batch++
		t.pos.Batches++
		t.groupLoss += loss * float64(l.n) / float64(l.images)
	}
	if !l.ends {
		return nil
	}
	t.lastLoss, t.groupLoss = t.groupLoss, 0
	if l.n == 0 {
		if err := t.takeNorm(l.p, t.lastLoss); err != nil {
			return err
		}
	}
	t.lastStep = [2]int{t.pos.Epoch + 1, t.part.Steps + 1}
	t.part.Norm += t.lastNorm
	t.part.Steps++
	t.pos.Update++
	t.part.Seconds = t.clock.seconds()
	t.report()
	return nil
}

// takeNorm keeps the gradient's norm, if the step has measured it.
func (t *Trainer) takeNorm(p *program, loss float64) error {
	if p.Norm == nil {
		return nil
	}
	t.lastNorm = float64(p.normHost[0])
	if !finite(t.lastNorm) {
		return t.diverged("the gradient's norm", loss, t.pos.Epoch+1, t.part.Steps+1)
	}
	return nil
}

// isDevice reports whether err is a failure of the device.
func isDevice(err error) bool {
	var d *DeviceError
	return errors.As(err, &d)
}
