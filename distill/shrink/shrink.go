// Package shrink finds the best network for a budget: of bytes, milliseconds,
// parameters, multiply-adds or memory. It begins with a trained net and comes to the
// budget in rounds. In each, moves (channels, blocks, ranks, bits of weights, smaller
// images) are told apart by the divergence of the predictions that each alone causes,
// and the cheapest for what they save are chosen until the round's limits are met.
// Several such proposals are trained for a short time under the teacher and judged on
// the validation images as they would be written; the next round begins with the best.
// When the budget is met the net is trained in full, first in float32, then with its
// bits. The ideas are those of NetAdapt (Yang et al., arXiv:1804.03230) and of HALP
// (Shen et al., arXiv:2110.10811), with the costs of the file and of the machine as
// they are measured.
package shrink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// ResultFile is the name of the net that was found.
const ResultFile = "shrunk.safetensors"

// timesFile is that of the measured times, which are kept with the search.
const timesFile = "times.json"

// A search is one at work.
type search struct {
	env      compress.Env
	o        Options
	start    *checkpoint.Checkpoint
	teachers []*checkpoint.Checkpoint
	dir      string
	meter    *budget.Meter
	survey   *surveyor
	tune     *data.Dataset
	journal  *Journal
	sources  []Source           // of the start net, and of the teachers
	history  []checkpoint.Event // of the file that is written
	begun    time.Time
	before   float64 // seconds of earlier processes
	target   float64 // of the present round
	logger   *slog.Logger
}

// An Outcome is what a search has come to.
type Outcome struct {
	Best *checkpoint.Checkpoint
	Path string
	// Recipe is the file that repeats the result without the search.
	Recipe  string
	Cost    budget.Cost
	Journal *Journal
	// Accuracy is that on the validation images.
	Accuracy float64
}

// ErrOver is what the error of a search wraps whose net is over the budget: the nearest
// that it could come to, or one that, timed at the end, takes longer than before.
var ErrOver = errors.New("the net is over its budget")

// Run searches, in the folder env.Dir, which it makes; what an earlier process has
// done there is not done again. The teachers may be none: then the start net teaches. With
// an error that wraps ErrOver there is an outcome, too.
func Run(ctx context.Context, env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, o Options) (*Outcome, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s, err := newSearch(env, start, teachers, o.withDefaults())
	if err != nil {
		return nil, err
	}
	return s.run(ctx)
}

func (s *search) run(ctx context.Context) (*Outcome, error) {
	x, err := s.rounds(ctx)
	if err != nil {
		return nil, s.stopped(ctx, err)
	}
	out, err := s.finish(ctx, x)
	return out, s.stopped(ctx, err)
}

// stopped says how a search that was stopped is resumed, and what it leaves.
func (s *search) stopped(ctx context.Context, err error) error {
	left := ""
	if best, accuracy, ok := s.bestSoFar(); ok {
		left = fmt.Sprintf("; the best so far is %s (%.2f %% of the validation images)", best, 100*accuracy)
	}
	return interrupted(ctx, err, s.dir, left)
}

// An InterruptedError says that a search's context ended. It wraps the context's error.
type InterruptedError struct {
	Dir  string // of the search
	Left string // what it leaves, in words
	Err  error
}

// Error implements error.
func (e *InterruptedError) Error() string {
	return fmt.Sprintf("the search was stopped; the same command with the folder %s resumes it%s", e.Dir, e.Left)
}

// Unwrap returns the context's error.
func (e *InterruptedError) Unwrap() error { return e.Err }

// interrupted is err, or that the context has ended.
func interrupted(ctx context.Context, err error, dir, left string) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &InterruptedError{dir, left, ctx.Err()}
}

func newSearch(env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, o Options) (*search, error) {
	if env.Backend == nil || env.Train() == nil || env.Data.Val == nil || env.Dir == "" {
		return nil, errors.New("shrink: a search needs a device, training and validation images, and a folder")
	}
	if any, _ := start.Net.Quantized(); any || start.Scheme() != checkpoint.Float32 {
		return nil, compress.Failed("shrink", start, errors.New("it is quantized already; start from the 32-bit checkpoint"))
	}
	if err := start.CheckFinite(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(env.Dir, 0o777); err != nil {
		return nil, err
	}
	if len(teachers) == 0 {
		teachers = []*checkpoint.Checkpoint{start}
	}
	named := *start
	if named.Classes = env.Data.Classes; len(start.Classes) > 0 {
		named.Classes = start.Classes
	}
	if err := named.CheckDataset(env.Data); err != nil {
		return nil, err
	}
	s := &search{env: env, o: o, start: &named, teachers: teachers, dir: env.Dir, begun: time.Now()}
	s.env.Log = nil // what is done a hundred times is told by the search alone
	if err := s.tell(); err != nil {
		return nil, err
	}
	times, err := budget.OpenTable(filepath.Join(env.Dir, timesFile))
	if err != nil {
		return nil, err
	}
	s.meter = &budget.Meter{Backend: env.Backend, Limits: o.Under, Times: times, Log: env.Log}
	some := env.Data.Train.Subset(o.Images)
	s.survey = &surveyor{env: s.env, taylor: o.Images, bits: o.Bits}
	for i := range some.Len() {
		s.survey.images = append(s.survey.images, some.Image(i))
	}
	few := *env.Data
	few.Train = env.Data.Train.Subset(o.Tune)
	s.tune, s.logger = &few, env.Log
	return s, s.open()
}

// tell makes the history of the file that is written: one event for the whole search,
// so that its size is known before.
func (s *search) tell() error {
	out := *s.start
	if err := compress.Derive(&out, s.start, "shrink", fmt.Sprintf("under %s, in %d rounds, %d epochs, seed %d", s.o.Under, s.o.Rounds, s.o.Train.Epochs, s.o.Train.Seed)); err != nil {
		return err
	}
	e := &out.History[len(out.History)-1]
	e.Data, e.Recipe = s.env.Data.Fingerprint, s.o.Origin
	if path := s.teachers[0].Path; path != "" {
		var err error
		if e.Teacher, err = checkpoint.Fingerprint(path); err != nil {
			return err
		}
	}
	s.history = out.History
	return nil
}

// open reads the journal, or begins one.
func (s *search) open() (err error) {
	o := s.o
	o.Train.Workers = 0
	s.sources = make([]Source, 1+len(s.teachers))
	for i, c := range append([]*checkpoint.Checkpoint{s.start}, s.teachers...) {
		if s.sources[i], err = sourceOf(c); err != nil {
			return err
		}
	}
	id, err := json.Marshal(struct {
		Options
		Data string
		Of   []string
	}{o, s.env.Data.Fingerprint, fingerprints(s.sources)})
	if err != nil {
		return err
	}
	if s.journal, err = readJournal(s.dir); err != nil {
		return err
	}
	if s.journal == nil {
		s.journal = &Journal{Identity: string(id)}
		return nil
	}
	if s.journal.Identity != string(id) {
		return fmt.Errorf("%s holds a search with other settings; use another folder, or the same settings to resume it", s.dir)
	}
	s.before = s.journal.Seconds
	return nil
}

func (s *search) save() error {
	s.journal.Seconds = s.seconds()
	return errors.Join(s.meter.Times.Save(), s.journal.save(s.dir))
}

// seconds are those that the search has taken so far, with earlier processes.
func (s *search) seconds() float64 { return s.before + time.Since(s.begun).Seconds() }

func (s *search) warn(msg string, args ...any) {
	if s.logger != nil {
		s.logger.Warn("shrink: "+msg, args...)
	}
}

func (s *search) log(msg string, args ...any) {
	if s.logger != nil {
		s.logger.Info("shrink: "+msg, args...)
	}
}
