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
// flights.next is the place up to which batches have been launched, ledger.pos that up to
// which they have been accounted for. They are the same wherever a snapshot is
// taken, the net is evaluated, or the run is left.

// A launch is one run of a program that has been started.
type launch struct {
	p      *program
	f      engine.Flight
	labels []int32 // of the batch; valid until the next but one is fetched
	n      int     // its images; 0: a run without a batch
	active int     // the ranks that have a batch; 0: the optimizer's run
	images int     // those of the whole step, of all ranks
	first  bool    // the first launch of its step
	ends   bool    // the last launch of its step
}

// flights are the launches that have not been waited for, the oldest first.
type flights struct {
	under []launch
	next  position // up to which batches have been launched
}

// pop returns the oldest launch, which is then no more among them.
func (f *flights) pop() launch {
	l := f.under[0]
	f.under = f.under[:copy(f.under, f.under[1:])]
	return l
}

// abandon waits for all launches, whatever comes of them.
func (f *flights) abandon() {
	for i := range f.under {
		_ = f.under[i].f.Wait()
	}
	f.under = f.under[:0]
}

// group launches one step: Accumulate batches, or what is left of the epoch, and
// the optimizer.
func (t *Trainer) group(ctx context.Context, batches *data.Epoch) error {
	err := t.launchGroup(ctx, batches)
	if err != nil && len(t.flights.under) > 0 { // something went wrong before a launch
		if earlier := t.drain(); earlier != nil {
			return earlier
		}
	}
	return err
}

func (t *Trainer) launchGroup(ctx context.Context, batches *data.Epoch) error {
	next, ranks := &t.flights.next, t.c.ranks()
	k := min(t.c.perStep(), t.source.batches()-next.Batch)
	images := t.source.imagesIn(next.Batch, k)
	for i := 0; i < k; i += ranks {
		l := launch{active: min(ranks, k-i), images: images, first: i == 0, ends: t.c.Accumulate == 1}
		b, err := t.fetch(batches, &l)
		if err != nil {
			return err
		}
		t.programs.step.Tell(t.moment(i == 0), b)
		next.Batch += l.active
		next.Batches += l.active
		if l.ends {
			next.Update++
		}
		if err := t.launch(ctx, b, l); err != nil {
			return err
		}
	}
	if t.c.Accumulate == 1 {
		return nil
	}
	p, err := t.optimizer(k <= t.c.rank())
	if err != nil {
		return err
	}
	t.programs.step.Tell(t.moment(false), nil)
	next.Update++
	return t.launch(ctx, nil, launch{p: p, ends: true})
}

// fetch gets this rank's batch and the program for it; a rank without one has a program
// all the same.
func (t *Trainer) fetch(batches *data.Epoch, l *launch) (*data.Batch, error) {
	if t.c.rank() >= l.active {
		if t.programs.step.active == nil { // a batch of another size tells what there is to move
			if _, _, err := t.programs.write(t.source.key(t.c.Batch, 1)); err != nil {
				return nil, err
			}
		}
		var err error
		l.p, err = t.program(stepKey{active: l.active})
		return nil, err
	}
	b, err := batches.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("the epoch ended after %d of %d batches", t.flights.next.Batch, t.source.batches())
	}
	if err != nil {
		return nil, err
	}
	l.labels, l.n = b.Labels[:b.N], b.N
	l.p, err = t.program(stepKey{b.N, b.H, b.W, b.C, t.weight(b.N, l.images), l.active})
	return b, err
}

// moment is that of the next launch.
func (t *Trainer) moment(first bool) Moment {
	next := t.flights.next
	return Moment{Epoch: next.Epoch, Update: next.Update, Batch: next.Batches + t.c.rank(), First: first, LR: t.ledger.schedule.LR(next.Update)}
}

// weight returns the share of a batch's gradient in that of its step.
func (t *Trainer) weight(n, images int) float32 {
	if t.c.perStep() > 1 {
		return float32(n) / float32(images)
	}
	return 1
}

// launch starts a run, and accounts for earlier ones until no more are under way
// than may be.
func (t *Trainer) launch(ctx context.Context, b *data.Batch, l launch) error {
	var err error
	if l.f, err = l.p.start(ctx, b); err != nil {
		t.flights.abandon()
		return t.failed(fault(t.store.Backend(), err))
	}
	t.flights.under = append(t.flights.under, l)
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
	for len(t.flights.under) > left {
		l := t.flights.pop()
		if err := t.settle(&l); err != nil {
			t.flights.abandon()
			return err
		}
	}
	return nil
}

// settle waits for one launch, accounts for it, and reports its step.
func (t *Trainer) settle(l *launch) error {
	if err := l.p.land(l.f); err != nil {
		return t.failed(fault(t.store.Backend(), err))
	}
	all, err := t.gather(l)
	if err != nil {
		return t.failed(fault(t.store.Backend(), err))
	}
	if err := t.ledger.settle(l, all); err != nil {
		return err
	}
	if l.ends && t.hooks.Step != nil {
		t.hooks.Step(t.ledger.info())
	}
	return nil
}

// isDevice reports whether err is a failure of the device.
func isDevice(err error) bool {
	var d *DeviceError
	return errors.As(err, &d)
}
