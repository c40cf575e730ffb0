package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A Trainer fits one net to one dataset. It is not safe for concurrent use.
type Trainer struct {
	net     Net
	vars    []*engine.Variable
	store   *engine.Store
	ds      *data.Dataset
	classes int
	c       Config
	hooks   Hooks

	loader    *data.Loader
	resident  *resident // the training set on the device; nil: the loader makes the images
	schedule  *Schedule
	step      *Step
	state     *state // of the step
	programs  map[stepKey]*program
	optimize  *program // the optimizer's, when accumulating
	evalStore *engine.Store
	evaluator *Evaluator

	pos       position // up to which all is accounted for
	next      position // up to which batches have been launched
	flying    []launch // the launches between the two
	groupLoss float64  // of the accounted batches of the step under way
	clock     clock
	saved     *position // of the last "last" snapshot, nil if there is none

	part     partial
	history  []EpochInfo
	counted  int // batches that num_batches_tracked knows of
	lastLoss float64
	lastNorm float64
	lastStep [2]int // epoch and step, from 1
	started  bool
	resumed  bool
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
	if err := CheckLastBatch(net, ds, c); err != nil {
		return nil, err
	}
	t := &Trainer{
		net: net, vars: net.Variables(), store: store, ds: ds, classes: len(ds.Classes), c: c, hooks: h,
		step: NewStep(net, c, h.Loss, h.Extra), programs: make(map[stepKey]*program), evalStore: store,
		flying: make([]launch, 0, engine.Flights),
	}
	t.state = t.step.state
	names := make(map[string]bool, len(t.vars))
	for _, v := range t.vars {
		if names[v.Name] {
			return nil, fmt.Errorf("two variables of the net are called %q", v.Name)
		}
		names[v.Name] = true
	}
	t.place()
	if err := t.open(); err != nil {
		return nil, errors.Join(err, t.evict())
	}
	return t, nil
}

// open makes what a run needs beside its programs.
func (t *Trainer) open() (err error) {
	c, ds := t.c, t.ds
	if c.BalancedWeights {
		c.ClassWeights = ds.Train.BalancedWeights(t.classes)
	}
	t.loader, err = data.NewLoader(ds.Train, t.classes, data.LoaderOptions{
		Batch: c.Batch, Shuffle: c.Shuffle, Augment: c.Train, Seed: c.Seed, Workers: c.Workers,
		MixupAlpha: c.MixupAlpha, CutMix: c.CutMixAlpha, ClassWeights: c.ClassWeights, Balanced: c.BalancedSampling, DropLast: c.DropLast, OnDevice: t.resident != nil,
	})
	if err != nil {
		return err
	}
	if t.schedule, err = NewSchedule(c.Schedule, c.Optimizer.LR, c.Epochs, t.groups()); err != nil {
		return err
	}
	if c.EMA > 0 {
		t.evalStore = engine.NewStore(t.store.Backend())
	}
	t.evaluator, err = NewEvaluator(t.net, t.evalStore, t.classes,
		EvalOptions{Batch: c.Batch, Transform: c.Eval, Workers: c.Workers})
	if err != nil {
		return err
	}
	t.evaluator.fit = t.fit
	return nil
}

// CrossEntropy returns the LossFunc of PyTorch's cross-entropy.
func CrossEntropy(labelSmoothing float32) LossFunc {
	return func(b *engine.Builder, _, logits, target *engine.Value) *engine.Value {
		return b.One(engine.CrossEntropy{LabelSmoothing: labelSmoothing}, logits, target)
	}
}

// groups returns the steps an epoch.
func (t *Trainer) groups() int { return t.groupOf(t.loader.Steps()) }

// groupOf returns the steps that so many batches make.
func (t *Trainer) groupOf(batches int) int { return (batches + t.c.Accumulate - 1) / t.c.Accumulate }

// History returns the figures of the epochs done, after Resume also those of
// the run before: what a file of metrics must hold to be whole again.
func (t *Trainer) History() []EpochInfo { return append([]EpochInfo(nil), t.history...) }

// Close frees the programs, the training set and the weights of evaluation. The store, with the
// trained weights, stays. It may be called twice.
func (t *Trainer) Close() error {
	t.abandon()
	var errs []error
	for k, p := range t.programs {
		errs = append(errs, p.prog.Close())
		delete(t.programs, k)
	}
	if t.optimize != nil {
		errs = append(errs, t.optimize.prog.Close())
		t.optimize = nil
	}
	errs = append(errs, t.evict(), t.evaluator.Close())
	if t.evalStore != t.store {
		errs = append(errs, t.evalStore.Close())
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
	t.started = true
	r, err := t.run(ctx)
	if isDevice(err) {
		return nil, err // there is nothing to be had of it
	}
	return r, errors.Join(err, t.syncCounters())
}

func (t *Trainer) run(ctx context.Context) (*Result, error) {
	if !t.resumed {
		if err := t.startAverages(); err != nil {
			return nil, t.failed(err)
		}
	}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	for t.pos.Epoch < t.c.Epochs && !t.patienceSpent() {
		if err := t.epoch(ctx); err != nil {
			return nil, err
		}
	}
	r := &Result{History: t.History(), Stopped: t.pos.Epoch < t.c.Epochs}
	r.Last, r.Best = t.history[len(t.history)-1], *t.best()
	return r, nil
}

// startAverages sets the averages to the weights.
func (t *Trainer) startAverages() error {
	for i, e := range t.state.ema {
		if err := copyVariable(t.store, e, t.store, t.state.source[i]); err != nil {
			return err
		}
	}
	return nil
}

func copyVariable(to *engine.Store, dst *engine.Variable, from *engine.Store, src *engine.Variable) error {
	buf := make([]byte, src.Bytes())
	if err := from.Get(src, buf); err != nil {
		return fault(from.Backend(), err)
	}
	return fault(to.Backend(), to.Set(dst, buf))
}

// best returns the history's best epoch, nil if there is none.
func (t *Trainer) best() *EpochInfo {
	for i := len(t.history) - 1; i >= 0; i-- {
		if t.history[i].Best {
			return &t.history[i]
		}
	}
	return nil
}

func (t *Trainer) patienceSpent() bool {
	b := t.best()
	return t.c.Patience > 0 && b != nil && t.pos.Epoch-b.Epoch >= t.c.Patience
}
