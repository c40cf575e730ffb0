package fit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Run runs a job on the backend.
//
// When ctx is canceled, the step under way is finished, the run saved, and an
// [*InterruptedError] returned, which wraps ctx's error. A
// [*train.DivergedError] names the step at which a number was not finite, and
// the last good checkpoint. A file that cannot be written ends the run with an
// error that names it; the files saved before stay whole.
func Run(ctx context.Context, b engine.Backend, j Job) (*Outcome, error) {
	out, err := run(ctx, b, j)
	if err != nil && j.Name != "" {
		err = fmt.Errorf("%s: %w", j.Name, err)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// A session is one call of Run under way.
type session struct {
	j       *Job
	model   *layers.Model
	history []checkpoint.Event
	ident   identity

	files *files // nil without a folder
	stop  context.CancelFunc
	at    train.StepInfo
	// teachers are the job's, each with how its images are prepared here.
	teachers []*checkpoint.Checkpoint
	saved    bool  // LastFile is of this run
	err      error // the first of a hook that cannot return one
	// saveErr is the first of save.
	saveErr error
	best    *checkpoint.Checkpoint
}

func run(ctx context.Context, b engine.Backend, j Job) (out *Outcome, err error) {
	if err := j.prepare(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{j: &j, stop: cancel}
	if s.model, err = s.build(); err != nil {
		return nil, err
	}
	unlock, err := s.claim()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	var last *checkpoint.Checkpoint
	if j.Resume {
		if last, err = checkpoint.Load(s.path(LastFile)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("resume: there is no %s; start without --resume", s.path(LastFile))
			}
			return nil, err
		}
	}
	j.tellPreprocess()
	s.prepareTeachers()
	if err := s.examine(ctx, b); err != nil {
		return nil, err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := s.teach(ctx, store); err != nil {
		return nil, err
	}
	if err := s.thin(store); err != nil {
		return nil, err
	}
	if s.history, err = s.start(store, last); err != nil {
		return nil, err
	}
	if err := s.join(); err != nil {
		return nil, err
	}
	hooks := train.Hooks{Logger: j.Logger, Step: s.step, Epoch: s.epoch, Save: s.save}
	t, err := train.New(s.model, store, j.Data, j.Config, hooks)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := s.resume(t, last); err != nil {
		return nil, err
	}
	if err := s.open(t.History()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.files.close()) }()
	r, err := t.Run(ctx)
	if err = s.explain(err); err != nil {
		return nil, err
	}
	return s.outcome(r)
}

// build makes the model, with what is frozen and what learns more slowly.
func (s *session) build() (*layers.Model, error) {
	m, err := s.j.Net.Model()
	if err != nil {
		return nil, err
	}
	if err := m.Freeze(s.j.Freeze...); err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	s.ident.Freeze = s.j.Freeze
	if s.j.reuse != nil {
		if err := m.Freeze(distill.Reused); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(m.Variables(), func(v *engine.Variable) bool { return v.Trainable }) {
		return nil, fmt.Errorf("freeze: nothing of %s is left to train; leave a pattern out", m.Net())
	}
	o := &s.j.Config.Optimizer
	if err := stepRates(o, s.j.Init); err != nil {
		return nil, err
	}
	for _, x := range s.j.LRScales {
		names := m.Matches(x.Pattern)
		if len(names) == 0 {
			return nil, fmt.Errorf("lr-scale: no tensor that is trained fits the pattern %q; potstill summary lists the modules", x.Pattern)
		}
		if o.LRScale == nil {
			o.LRScale = make(map[string]float64)
		}
		for _, name := range names {
			o.LRScale[name] = x.Factor
		}
	}
	return m, nil
}

// path returns that of a file in the job's folder.
func (s *session) path(name string) string { return filepath.Join(s.j.Dir, name) }

// teach puts the teachers, if there are any, into the store and the objective.
func (s *session) teach(ctx context.Context, store *engine.Store) error {
	j := s.j
	if j.Teacher == nil {
		return nil
	}
	var models []*layers.Model
	for _, c := range j.teachers() {
		restore := c.Restore
		if j.KD.Precision == distill.Int8 {
			restore = c.Infer
		}
		m, err := restore(store)
		if err != nil {
			return fmt.Errorf("teacher: %w", err)
		}
		models = append(models, m)
	}
	c := j.Config
	o := distill.Options{Smoothing: c.LabelSmoothing, Mixed: c.MixupAlpha > 0 || c.CutMixAlpha > 0, ClassWeights: c.ClassWeights, Epochs: c.Epochs, Seed: c.Seed}
	for i := range j.Data.Train.Len() {
		o.Labels = append(o.Labels, int32(j.Data.Train.Label(i)))
	}
	if c.BalancedWeights {
		o.ClassWeights = j.Data.Train.BalancedWeights(len(j.Data.Classes))
	}
	loss, err := distill.NewLoss(j.KD, models, o)
	if err != nil {
		return err
	}
	for k, t := range s.teachers {
		if err := loss.Prepare(store, k, j.Preprocess, t.Preprocess); err != nil {
			return err
		}
	}
	if err := s.remember(ctx, store.Backend(), loss); err != nil {
		return err
	}
	size := j.sizeOf(j.Preprocess)
	if err := loss.Attach(store, s.model, size[0], size[1]); err != nil {
		return err
	}
	if log := j.Logger; log != nil && !j.Resume {
		for _, line := range loss.Describe() {
			log.Info("loss: " + line)
		}
	}
	j.Config.Objective = loss
	s.ident.distilled(j.teachers(), j.KD, loss.Views())
	return nil
}

// thin puts the penalty on channels, if there is one, into the objective.
func (s *session) thin(store *engine.Store) error {
	j := s.j
	if j.Sparsity.Strength == 0 {
		return nil
	}
	inner := j.Config.Objective
	if inner == nil {
		inner = train.CrossEntropy{LabelSmoothing: j.Config.LabelSmoothing}
	}
	o, err := j.Sparsity.Objective(inner, s.model, store)
	if err != nil {
		return err
	}
	j.Config.Objective, s.ident.Sparsity = o, j.Sparsity
	return nil
}

// start sets the weights that a run begins with and returns its history. A
// resumed run has those of the run before: Init may have been replaced since.
func (s *session) start(store *engine.Store, last *checkpoint.Checkpoint) ([]checkpoint.Event, error) {
	switch {
	case last != nil:
		return last.History, nil
	case s.j.reuse != nil:
		if err := s.startReuse(store); err != nil {
			return nil, err
		}
	case s.j.Init != nil && s.j.NewHead:
		_, state, err := layers.ReplaceHead(len(s.j.Data.Classes), s.j.Config.Seed)(s.j.Init.Net, s.j.Init.State)
		if err != nil {
			return nil, err
		}
		if err := s.model.Load(store, state); err != nil {
			return nil, err
		}
		if log := s.j.Logger; log != nil {
			log.Info(fmt.Sprintf("%s: its last layer, for %d classes, is replaced by a new one for the %d of %s",
				cmp.Or(s.j.Init.Path, s.j.Init.Net.String()), s.j.Init.Net.Classes(), s.j.Net.Classes(), s.j.Data.Name))
		}
	case s.j.Init != nil:
		if err := s.model.Load(store, s.j.Init.State); err != nil {
			return nil, err
		}
	default:
		if err := s.model.Init(store, s.j.Config.Seed); err != nil {
			return nil, err
		}
	}
	return s.j.history()
}

// open makes the files for figures. That the folder cannot be written to shows
// before the first step.
func (s *session) open(history []train.EpochInfo) (err error) {
	if s.j.Dir == "" || !s.writes() {
		return nil
	}
	s.files, err = openFiles(s.j.Dir, history)
	return err
}

// step is told of every step.
func (s *session) step(i train.StepInfo) {
	s.at = i
	if w := s.j.StepLog; w != nil {
		s.fail(logStep(w, i))
	}
	if s.j.Step != nil {
		s.j.Step(i)
	}
}

// epoch is told of every epoch, once it has been saved.
func (s *session) epoch(i train.EpochInfo) {
	if s.files != nil {
		s.fail(s.files.epoch(i))
	}
	if s.j.Epoch != nil {
		s.j.Epoch(i)
	}
}

// fail keeps the first error that a hook without a result has met, and ends the run.
func (s *session) fail(err error) {
	if err != nil && s.err == nil {
		s.err = err
		s.stop()
	}
}

// explain turns the trainer's error into one that names files and the way on.
func (s *session) explain(err error) error {
	last := ""
	if s.saved {
		last = s.path(LastFile)
	}
	var diverged *train.DivergedError
	var device *train.DeviceError
	switch {
	case s.saveErr != nil && s.saved:
		return fmt.Errorf("%w; the run as last saved is whole in %s", s.saveErr, last)
	case s.saveErr != nil:
		return s.saveErr
	case s.err != nil && s.saved:
		return fmt.Errorf("%w; the run so far is in %s", s.err, last)
	case s.err != nil:
		return s.err
	case errors.As(err, &diverged):
		diverged.Checkpoint = last
		return diverged
	case errors.As(err, &device):
		device.Checkpoint = last
		return device
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return &InterruptedError{Epoch: s.at.Epoch, Step: s.at.Step, Steps: s.at.Steps, Path: last, Err: err}
	}
	return err
}

// outcome reads back what was written.
func (s *session) outcome(r *train.Result) (*Outcome, error) {
	out := &Outcome{Best: s.best, Result: r}
	if s.j.Dir == "" || !s.writes() {
		return out, nil
	}
	out.BestPath, out.LastPath = s.path(BestFile), s.path(LastFile)
	best, err := checkpoint.Load(out.BestPath)
	if err != nil {
		return nil, err
	}
	out.Best, out.BytesBest = best, best.Bytes
	return out, nil
}

// writable adds what to do to an error of the file system.
func writable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w; free some space or choose another folder", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w; choose a folder that you may write to", err)
	}
	return err
}
