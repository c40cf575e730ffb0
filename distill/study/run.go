package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// Options say where a study goes, and what of its recipe is set aside. Zero
// values leave the recipe as it is.
type Options struct {
	Dir string // the report goes here, the steps' work into work/ below

	Data   string // what data.Open takes
	Size   int    // height and width that the nets see
	Epochs int    // of train and distill steps; prunes are fine-tuned for no more than that
	Batch  int
	LR     float64
	Seed   *uint64
	Seeds  int  // how many seeds to run, from the first on; 0: as the recipe says
	Quick  bool // the quick form of a built-in recipe

	Open     data.Options // how the data are opened; its Logger is ours unless set
	Workers  int          // goroutines that prepare images; 0 leaves it to the data package
	Logger   *slog.Logger // nil: silent
	Progress Progress     // nil: none

	// For the report alone.
	Version string // of the program
	Command string // that repeats the study
}

// Progress is told what a study does. Its methods are called from one goroutine.
type Progress interface {
	// Begin opens step i (from 1) of n, which advances from 0 to total; 0 where that is
	// not known.
	Begin(step string, i, n, total int)
	// Advance says how far the step is, some ten times a second at most.
	Advance(step string, done int, note string)
	// End closes the step; cached says that it had been done before.
	End(step string, note string, cached bool)
}

type silent struct{}

func (silent) Begin(string, int, int, int) {}
func (silent) Advance(string, int, string) {}
func (silent) End(string, string, bool)    {}

// An InterruptedError says that a study's context ended. It wraps the
// context's error.
type InterruptedError struct {
	Step        string // the step under way
	Done, Total int    // steps
	Err         error
}

// Error implements error.
func (e *InterruptedError) Error() string {
	return fmt.Sprintf("the study was stopped in step %s, after %d of %d; the same command continues exactly there", e.Step, e.Done, e.Total)
}

// Unwrap returns the context's error.
func (e *InterruptedError) Unwrap() error { return e.Err }

// A session is one run of a study with one seed.
type session struct {
	b     engine.Backend
	r     *Recipe // with the seed of this run
	o     Options
	ds    *data.Dataset
	units []*unit
	index int // of the unit under way, over all seeds
	total int // of the units of all seeds
	seeds int // how many there are
	last  time.Time
}

// Run does what is left to do of a study on the backend, and writes its report
// into o.Dir. When ctx ends it returns an [*InterruptedError]; running the same
// study again continues from there. A check that fails is in the report, it is no
// error.
func Run(ctx context.Context, b engine.Backend, r *Recipe, o Options) (res *report.Results, paths report.Paths, err error) {
	r, err = r.override(o)
	if err != nil {
		return nil, paths, err
	}
	if o.Dir == "" {
		return nil, paths, errors.New("the study has no output folder; name one")
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Open.Logger == nil {
		o.Open.Logger = o.Logger
	}
	runs, err := newSeries(b, r, o)
	if err != nil {
		return nil, paths, err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "work"), 0o777); err != nil {
		return nil, paths, hinted(writing(o.Dir, err))
	}
	ds, err := data.Open(ctx, r.Data.Source, o.Open)
	if err != nil {
		return nil, paths, err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	ds = r.limit(ds)
	for k, s := range runs {
		s.ds = ds
		for i, u := range s.units {
			s.index = k*len(s.units) + i
			if err := s.do(ctx, u); err != nil {
				return nil, paths, err
			}
		}
	}
	res = runs.results()
	paths, err = report.WriteAll(o.Dir, res)
	return res, paths, hinted(err)
}

// override returns the recipe with the options in place of its own data, size
// and seed.
func (r *Recipe) override(o Options) (*Recipe, error) {
	if o.Quick {
		if r.builtin == "" {
			return nil, fmt.Errorf("%s has no quick form: only built-in recipes have; lower the epochs instead", r.file)
		}
		quick, err := Builtin(r.builtin, true)
		if err != nil {
			return nil, err
		}
		r = quick
	}
	if o.Size < 0 || o.Epochs < 0 || o.Batch < 0 || o.LR < 0 {
		return nil, fmt.Errorf("size %d, epochs %d, batch %d, lr %g: none may be negative", o.Size, o.Epochs, o.Batch, o.LR)
	}
	c := *r
	c.Data.Source = cmp.Or(o.Data, c.Data.Source)
	if o.Size != 0 {
		c.Data.Size, c.Data.Width = o.Size, 0
	}
	if o.Seed != nil {
		c.Seed = *o.Seed
	}
	if err := checkSeeds(o.Seeds); err != nil {
		return nil, err
	}
	c.Seeds = max(cmp.Or(o.Seeds, c.Seeds), 1)
	switch {
	case c.Data.Source == "":
		return nil, fmt.Errorf("recipe %s names no data; give --data a folder of images, an archive of one, or builtin:fashion, or add source: under data", r.file)
	case c.Data.Size == 0:
		return nil, r.errAt("data", "the recipe gives no size; add size: and the pixels a side that the nets see")
	}
	return &c, nil
}

// overrideTraining puts the options in place of the units' settings.
func (s *session) overrideTraining() error {
	for _, u := range s.units {
		if !trains(u.step.Kind) {
			continue
		}
		c := &u.train.Config
		if e := s.o.Epochs; e > 0 && u.step.Kind == kindPrune {
			c.Epochs = min(c.Epochs, e)
		} else {
			c.Epochs = cmp.Or(e, c.Epochs)
		}
		c.Batch = cmp.Or(s.o.Batch, c.Batch)
		c.Optimizer.LR = cmp.Or(s.o.LR, c.Optimizer.LR)
		c.Train = s.r.Data.place(c.Train)
		if err := u.train.validate(s.r.Data); err != nil {
			return fmt.Errorf("step %s: %w", u.name, err)
		}
	}
	return nil
}

// limit leaves out the images beyond the recipe's limits.
func (r *Recipe) limit(ds *data.Dataset) *data.Dataset {
	d := *ds
	if n := r.Data.Limit.Train; n > 0 {
		d.Train = d.Train.Subset(n)
	}
	if n := r.Data.Limit.Val; n > 0 {
		d.Val = d.Val.Subset(n)
	}
	if n := r.Data.Limit.Test; n > 0 && d.Test != nil {
		d.Test = d.Test.Subset(n)
	}
	return &d
}

// do makes one unit, unless it is there.
func (s *session) do(ctx context.Context, u *unit) error {
	if err := s.setKey(u); err != nil {
		return err
	}
	s.o.Progress.Begin(s.label(u), s.index+1, s.total, s.length(u))
	if err := ctx.Err(); err != nil {
		return s.interrupted(u, err)
	}
	if u.out = u.findOutcome(); u.out != nil {
		if err := s.complete(ctx, u); err != nil {
			return s.failed(ctx, u, err)
		}
		s.o.Progress.End(s.label(u), u.note(), true)
		return nil
	}
	o := &outcome{Name: u.name, Key: u.key, Started: time.Now().UTC().Truncate(time.Second), Device: s.b.Name()}
	var done *outcome
	err := s.locked(u, func() error {
		if done = u.findOutcome(); done != nil {
			return nil // by another process, before the lock was ours
		}
		begin := time.Now()
		if err := u.prepare(); err != nil {
			return err
		}
		if err := s.make(ctx, u, o); err != nil {
			return err
		}
		o.Seconds = time.Since(begin).Seconds()
		return hinted(u.writeOutcome(o))
	})
	switch {
	case err == nil && done != nil:
		u.out = done
		s.o.Progress.End(s.label(u), u.note(), true)
		return nil
	case err == nil:
		u.out = o
		s.o.Logger.Debug("step done", "step", u.name, "accuracy", o.Accuracy, "bytes", o.Bytes, "seconds", o.Seconds)
		s.o.Progress.End(s.label(u), u.note(), false)
		return nil
	}
	return s.failed(ctx, u, err)
}

// failed is what becomes of a unit's error.
func (s *session) failed(ctx context.Context, u *unit, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return s.interrupted(u, ctx.Err())
	}
	return fmt.Errorf("step %s: %w", s.label(u), err)
}

// label names a unit to a person, with its seed where there are several.
func (s *session) label(u *unit) string {
	if s.seeds == 1 {
		return u.name
	}
	return fmt.Sprintf("%s, seed %d", u.name, s.r.Seed)
}

// locked does the work of a step while no other process does the same step. The
// lock lies beside the step's folder.
func (s *session) locked(u *unit, work func() error) (err error) {
	unlock, err := fit.Lock(u.dir + ".lock")
	if errors.Is(err, fit.ErrLocked) {
		return fmt.Errorf("%s is %w of this study: wait for its end, or choose another folder with --out", u.dir, err)
	}
	if err != nil {
		return hinted(writing(u.dir, err))
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return work()
}

func (s *session) interrupted(u *unit, err error) error {
	s.o.Progress.End(s.label(u), "stopped", false)
	return &InterruptedError{Step: s.label(u), Done: s.index, Total: s.total, Err: err}
}

// note sums a finished unit up in a few words.
func (u *unit) note() string {
	text := fmt.Sprintf("%.2f %%", 100*u.out.Accuracy)
	if t := u.out.Test; t != nil {
		text = fmt.Sprintf("validation %s, test %.2f %%", text, 100*t.Top1)
	}
	if u.out.Unmeasured {
		text = "not measured"
	}
	if u.out.Bytes > 0 {
		text += fmt.Sprintf(" in %d bytes", u.out.Bytes)
	}
	if u.out.ImagesPerSecond > 0 {
		text += fmt.Sprintf(", %.0f images/s", u.out.ImagesPerSecond)
	}
	return text
}

// length is what a unit advances to, 0 where that is not known.
func (s *session) length(u *unit) int {
	if u.step.Kind == kindShrink {
		return 0
	}
	if !trains(u.step.Kind) {
		return s.passes(u)
	}
	c := u.train.Config
	up := func(a, b int) int { return (a + b - 1) / b }
	return c.Epochs * up(up(s.ds.Train.Len(), c.Batch), c.Accumulate)
}

func (s *session) passes(u *unit) int { return max(u.step.Passes, 1) }

// advance reports progress, but not more often than a person can see.
func (s *session) advance(u *unit, done int, note func() string) {
	if now := time.Now(); now.Sub(s.last) >= 100*time.Millisecond {
		s.last = now
		s.o.Progress.Advance(s.label(u), done, note())
	}
}
