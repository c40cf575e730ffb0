package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A Trainer fits one net to one dataset. It is not safe for concurrent use.
//
// A batch goes through its parts in this order: the source makes it, the
// programs hold the step that it is launched into, the flights are the launches
// that have not been waited for, and the ledger enters what they come to. After
// each epoch the judge measures the weights.
type Trainer struct {
	net   Net
	vars  []*engine.Variable
	store *engine.Store
	c     Config
	data  string // the dataset's fingerprint
	hooks Hooks

	source   *source
	programs *programs
	flights  flights
	ledger   *ledger
	judge    *judge

	halt    context.Context // of Run: what tells this rank to stop
	stop    bool            // some rank is to stop, as all know
	counted int             // batches that num_batches_tracked knows of
	saved   *position       // of the last "last" snapshot, nil if there is none
	started bool
	resumed bool
}

// New returns a trainer for the net, whose variables' values lie in store, and
// the dataset, which needs images for training and for validation.
func New(net Net, store *engine.Store, ds *data.Dataset, c Config, h Hooks) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if ds.Train == nil || ds.Train.Len() == 0 {
		return nil, fmt.Errorf("%s has no training images", ds.Name)
	}
	if ds.Val == nil || ds.Val.Len() == 0 {
		return nil, fmt.Errorf("%s has no validation images, and the best weights are chosen by them", ds.Name)
	}
	if n := ds.Train.Len(); c.Batch > n {
		if h.Logger != nil {
			h.Logger.Info(fmt.Sprintf("there are %d training images, fewer than a batch of %d: each step takes all of them", n, c.Batch))
		}
		c.Batch = n
	}
	c = c.normalized()
	if err := checkPrecision(c.Precision, store.Backend()); err != nil {
		return nil, err
	}
	if err := CheckLastBatch(net, ds, c); err != nil {
		return nil, err
	}
	if err := c.checkRanks(ds.Train.Len()); err != nil {
		return nil, err
	}
	step := NewStep(net, c)
	t := &Trainer{
		net: net, vars: net.Variables(), store: store, c: c, data: ds.Fingerprint, hooks: h,
		flights: flights{under: make([]launch, 0, engine.Flights)},
	}
	if err := distinct(append(t.vars, step.Variables()...)); err != nil {
		return nil, err
	}
	if err := t.open(ds, step); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// checkPrecision says what is wrong with a precision on a backend.
func checkPrecision(p string, b engine.Backend) error {
	if p != "" && p != Float32 && p != BFloat16 {
		return fmt.Errorf("precision is %s or %s, not %q", Float32, BFloat16, p)
	}
	if m, ok := b.(engine.MixedPrecision); p == BFloat16 && !(ok && m.BFloat16()) {
		return fmt.Errorf("%s does not compute in %s; use %s", b.Name(), BFloat16, Float32)
	}
	return nil
}

// distinct reports two variables of one name: snapshots tell them apart by it.
func distinct(vars []*engine.Variable) error {
	names := make(map[string]bool, len(vars))
	for _, v := range vars {
		if names[v.Name] {
			return fmt.Errorf("two variables of the run are called %q", v.Name)
		}
		names[v.Name] = true
	}
	return nil
}

// open makes the parts of a run.
func (t *Trainer) open(ds *data.Dataset, step *Step) (err error) {
	c, classes := t.c, len(ds.Classes)
	if t.source, err = newSource(ds.Train, classes, c, t.store, t.hooks.Logger); err != nil {
		return err
	}
	t.programs = &programs{step: step, source: t.source, store: t.store, classes: classes, batches: make(map[stepKey]*program), updates: make(map[bool]*program)}
	t.ledger = &ledger{c: c, batches: t.source.batches(), terms: func() []string { return step.terms }}
	if t.ledger.schedule, err = NewSchedule(c.Schedule, c.Optimizer.LR, c.Epochs, t.ledger.steps()); err != nil {
		return err
	}
	if t.judge, err = newJudge(t.net, t.store, ds.Val, classes, c, step.state); err != nil {
		return err
	}
	t.judge.fit = t.fit
	return nil
}

// History returns the figures of the epochs done, after Resume also those of
// the run before: what a file of metrics must hold to be whole again.
func (t *Trainer) History() []EpochInfo { return append([]EpochInfo(nil), t.ledger.history...) }

// Close frees the programs, the training set and the weights of evaluation. The store, with the
// trained weights, stays. It may be called twice.
func (t *Trainer) Close() error {
	t.flights.abandon()
	var errs []error
	if t.programs != nil {
		errs = append(errs, t.programs.close())
	}
	if t.source != nil {
		errs = append(errs, t.source.close(t.store))
	}
	if t.judge != nil {
		errs = append(errs, t.judge.close())
	}
	return errors.Join(errs...)
}

// Run trains until the last epoch, or until Patience ends it. The store then
// holds the last weights, not averaged; the best have gone to Hooks.Save.
//
// When ctx is canceled, what is under way is finished (a step, or two where
// the device works ahead), a "last" snapshot taken, and an error returned that
// wraps ctx's and says how to resume. A [*DivergedError] is returned at the first
// number that is not finite, a [*MemoryError] where the device has too little
// memory, a [*DeviceError] where it fails.
func (t *Trainer) Run(ctx context.Context) (*Result, error) {
	if t.started {
		return nil, errors.New("the trainer has run already; make a new one")
	}
	t.started, t.halt = true, ctx
	r, err := t.run(ctx)
	if isDevice(err) {
		return nil, err // there is nothing to be had of it
	}
	return r, errors.Join(err, t.syncCounters())
}

func (t *Trainer) run(ctx context.Context) (*Result, error) {
	if !t.resumed {
		if err := t.judge.startAverages(); err != nil {
			return nil, t.failed(err)
		}
	}
	if err := t.agree(); err != nil {
		return nil, err
	}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	for !t.ledger.over() {
		if err := t.epoch(ctx); err != nil {
			return nil, err
		}
	}
	r := &Result{History: t.History(), Stopped: t.ledger.pos.Epoch < t.c.Epochs}
	r.Last, r.Best = r.History[len(r.History)-1], *t.ledger.best()
	return r, nil
}
