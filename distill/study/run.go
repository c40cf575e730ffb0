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

	"github.com/potstill/potstill/distill/claim"
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

	Expect string // what the recipe's digest must be; "": anything

	// Jobs is how many steps are done at a time; 0: one. They share the threads of
	// the processor, and each opens a backend of its own of so many threads (0, where
	// the backend has none to share). What is timed runs alone, on the backend of the
	// run. Results do not depend on it.
	Jobs        int
	OpenBackend func(threads int) (engine.Backend, error)
	Share       int // of so many processes on this machine, which divide its threads; 0: one

	Open     data.Options // how the data are opened; its Logger is ours unless set
	Workers  int          // goroutines that prepare images; 0 leaves it to the data package
	Logger   *slog.Logger // nil: silent
	Progress Progress     // nil: none

	// For the report alone.
	Version string // of the program
	Command string // that repeats the study
}

// Progress is told what a study does, of several steps where several are done at a
// time. No two of its methods are called at the same time.
type Progress interface {
	// Begin opens step i (from 1) of n, which advances from 0 to total; 0 where that is
	// not known.
	Begin(step string, i, n, total int)
	// Advance says how far the step is, some ten times a second at most.
	Advance(step string, done int, note string)
	// End closes the step; cached says that it had been done before. The note is
	// "stopped" or "failed" where it is not done.
	End(step string, note string, cached bool)
}

type silent struct{}

func (silent) Begin(string, int, int, int) {}
func (silent) Advance(string, int, string) {}
func (silent) End(string, string, bool)    {}

// An InterruptedError says that a study's context ended. It wraps the
// context's error.
type InterruptedError struct {
	Step        string // the steps under way
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
	seeds int       // how many there are
	last  time.Time // of the progress told
}

// Run does what is left to do of a study on the backend, and writes its report
// into o.Dir. When ctx ends it returns an [*InterruptedError]; running the same
// study again continues from there. A check that fails is in the report, it is no
// error. Several processes may run a study in one folder at the same time: each
// step is done by one of them.
func Run(ctx context.Context, b engine.Backend, r *Recipe, o Options) (res *report.Results, paths report.Paths, err error) {
	err = work(ctx, b, r, o, nil, func(runs series) error {
		res = runs.results()
		paths, err = report.WriteAll(o.Dir, res)
		return hinted(err)
	})
	return res, paths, err
}

// work does the named steps of a study, or all steps, and then what is left to do
// with them.
func work(ctx context.Context, b engine.Backend, r *Recipe, o Options, names []string, then func(series) error) (err error) {
	r, err = r.override(o)
	if err != nil {
		return err
	}
	if err := cmp.Or(r.checkNames(names), o.complete()); err != nil {
		return err
	}
	runs, err := newSeries(b, r, o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "work"), 0o777); err != nil {
		return hinted(writing(o.Dir, err))
	}
	claims, err := claim.Open(filepath.Join(o.Dir, claimsDir))
	if err != nil {
		return hinted(writing(o.Dir, err))
	}
	ds, err := data.Open(ctx, r.Data.Source, o.Open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	for _, s := range runs {
		s.ds = r.limit(ds)
	}
	c, err := newSchedule(b, o, runs, claims, names)
	if err != nil {
		return err
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	return then(runs)
}

// complete fills in what the options leave out.
func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("the study has no output folder; name one")
	}
	if o.Jobs < 0 || o.Jobs > maxJobs {
		return fmt.Errorf("a study does 1 to %d steps at a time, not %d", maxJobs, o.Jobs)
	}
	if o.Share < 0 || o.Share > maxJobs {
		return fmt.Errorf("the threads are divided between 1 to %d processes, not %d", maxJobs, o.Share)
	}
	if (o.Jobs > 1 || o.Share > 1) && o.OpenBackend == nil {
		return errors.New("several steps at a time need several backends; set OpenBackend")
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	o.Progress = &serial{Progress: o.Progress}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Open.Logger == nil {
		o.Open.Logger = o.Logger
	}
	return nil
}

// maxJobs bounds how many steps are done at a time.
const maxJobs = 1024

// override returns the recipe with the options in place of its own data, size
// and seed, and with the models that it names for these data in place of their
// training.
func (r *Recipe) override(o Options) (*Recipe, error) {
	r, err := r.Form(o.Quick)
	if err != nil {
		return nil, err
	}
	if err := r.expect(o.Expect); err != nil {
		return nil, err
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
	c.Steps = c.Steps.pretrained(c.Data.Source)
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

// label names a unit to a person, with its seed where there are several.
func (s *session) label(u *unit) string {
	if s.seeds == 1 {
		return u.name
	}
	return fmt.Sprintf("%s, seed %d", u.name, s.r.Seed)
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
