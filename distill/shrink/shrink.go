// Package shrink finds the best network for a budget: of bytes, milliseconds,
// parameters, multiply-adds or memory. It begins with a trained net and comes to the
// budget in rounds. In each, moves (channels, blocks, bits of weights) are told apart
// by the divergence of the predictions that each alone causes, and the cheapest for
// what they save are chosen until the round's limits are met. Several such proposals
// are trained for a short time under the teacher and judged on the validation images
// as they would be written; the best is gone on from. When the budget is met the net
// is trained in full, first in float32, then with its bits. The ideas are those of
// NetAdapt (Yang et al., arXiv:1804.03230) and of HALP (Shen et al., arXiv:2110.10811),
// with the costs of the file and of the machine as they are measured.
package shrink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// ResultFile is the name of the net that was found.
const ResultFile = "shrunk.safetensors"

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
	history  []checkpoint.Event // of the file that is written
	begun    time.Time
	before   float64 // seconds of earlier processes
}

// An Outcome is what a search has come to.
type Outcome struct {
	Best    *checkpoint.Checkpoint
	Path    string
	Cost    budget.Cost
	Journal *Journal
	// Accuracy is that on the validation images.
	Accuracy float64
}

// Run searches, in the folder env.Dir, which it makes; what an earlier process has
// done there is not done again. The teachers may be none: then the start net teaches.
func Run(ctx context.Context, env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, o Options) (*Outcome, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s, err := newSearch(env, start, teachers, o.withDefaults())
	if err != nil {
		return nil, err
	}
	x, err := s.rounds(ctx)
	if err != nil {
		return nil, s.stopped(ctx, err)
	}
	out, err := s.finish(ctx, x)
	return out, s.stopped(ctx, err)
}

// stopped says how a search that was stopped is resumed.
func (s *search) stopped(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("the search was stopped; the same settings with the folder %s resume it: %w", s.dir, ctx.Err())
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
	if err := s.tell(); err != nil {
		return nil, err
	}
	times, err := budget.OpenTable(filepath.Join(env.Dir, "times.json"))
	if err != nil {
		return nil, err
	}
	s.meter = &budget.Meter{Backend: env.Backend, Limits: o.Under, Times: times, Log: env.Log}
	some := env.Data.Train.Subset(o.Images)
	s.survey = &surveyor{env: env, taylor: o.Images, bits: o.Bits}
	for i := range some.Len() {
		s.survey.images = append(s.survey.images, some.Image(i))
	}
	few := *env.Data
	few.Train = env.Data.Train.Subset(o.Tune)
	s.tune = &few
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
	e.Data, e.Recipe = s.env.Data.Fingerprint, s.o.Recipe
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
func (s *search) open() error {
	o := s.o
	o.Train.Workers = 0
	id, err := json.Marshal(struct {
		Options
		Data  string
		Start string
		Of    []string
	}{o, s.env.Data.Fingerprint, s.start.Path, s.paths()})
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

func (s *search) paths() (all []string) {
	for _, t := range s.teachers {
		all = append(all, t.Path)
	}
	return all
}

func (s *search) save() error {
	s.journal.Seconds = s.before + time.Since(s.begun).Seconds()
	return errors.Join(s.meter.Times.Save(), s.journal.save(s.dir))
}

// first is the start net with the most bits.
func (s *search) first() candidate {
	x := candidate{c: s.start, bits: make(map[string]int), history: s.history}
	if len(s.o.Bits) > 0 {
		for _, name := range weighted(s.start.Net) {
			x.bits[name] = s.o.Bits[0]
		}
	}
	return x
}

// rounds goes on until the budget is met.
func (s *search) rounds(ctx context.Context) (candidate, error) {
	x, err := s.replay()
	if err != nil || s.journal.Done {
		return x, err
	}
	w, err := x.written()
	if err != nil {
		return x, err
	}
	cost, err := s.meter.Cost(ctx, w)
	if err != nil {
		return x, err
	}
	accuracy := s.lastAccuracy()
	if accuracy == 0 {
		ev, err := s.judge(ctx, x)
		if err != nil {
			return x, err
		}
		accuracy = ev
		s.journal.Trials = append(s.journal.Trials, Trial{Name: "start", Cost: cost, Accuracy: ev, Accepted: true, Target: s.o.Under.Excess(cost)})
		if err := s.save(); err != nil {
			return x, err
		}
	}
	for !s.o.Under.Met(cost) {
		left := max(s.o.Rounds-s.journal.Rounds, 1)
		target := math.Pow(s.o.Under.Excess(cost), 1-1/float64(left))
		if left == 1 {
			target = 1
		}
		best, trial, err := s.round(ctx, x, target)
		if err != nil {
			return x, err
		}
		if accuracy-trial.Accuracy > s.o.Fall && left > 1 && target < 0.9*s.o.Under.Excess(cost) {
			s.log("taken back", "accuracy", trial.Accuracy)
			half := math.Sqrt(target * s.o.Under.Excess(cost))
			if best, trial, err = s.round(ctx, x, half); err != nil {
				return x, err
			}
			s.journal.Rounds-- // one more
		}
		s.accept(trial)
		x, cost, accuracy = best, trial.Cost, trial.Accuracy
		s.journal.Rounds++
		if err := s.save(); err != nil {
			return x, err
		}
	}
	s.journal.Done = true
	return x, s.save()
}

// accept marks the trial.
func (s *search) accept(t Trial) {
	i := slices.IndexFunc(s.journal.Trials, func(u Trial) bool { return u.Round == t.Round && u.Name == t.Name && u.Target == t.Target })
	s.journal.Trials[i].Accepted = true
}

func (s *search) lastAccuracy() float64 {
	for _, t := range slices.Backward(s.journal.Trials) {
		if t.Accepted {
			return t.Accuracy
		}
	}
	return 0
}

// replay returns the candidate that the accepted rounds have come to.
func (s *search) replay() (candidate, error) {
	x := s.first()
	for _, t := range s.journal.Trials {
		if !t.Accepted || t.Name == "start" {
			continue
		}
		var err error
		if x, err = x.apply(t.Moves); err != nil {
			return x, err
		}
		if x.c, err = checkpoint.Load(s.tuned(t)); err != nil {
			return x, err
		}
	}
	return x, nil
}

// folder returns that of a trial.
func (s *search) folder(t Trial) string {
	return filepath.Join(s.dir, fmt.Sprintf("round-%d", t.Round), fmt.Sprintf("%s-%.4f", t.Name, t.Target))
}

func (s *search) tuned(t Trial) string { return filepath.Join(s.folder(t), "tuned.safetensors") }

func (s *search) log(msg string, args ...any) {
	if s.env.Log != nil {
		s.env.Log.Info("shrink: "+msg, args...)
	}
}

// judge returns the validation accuracy of a candidate as it would be written.
func (s *search) judge(ctx context.Context, x candidate) (float64, error) {
	c, err := s.rounded(ctx, x)
	if err != nil {
		return 0, err
	}
	ev, err := eval.Evaluate(ctx, s.env.Backend, c, s.env.Data.Val, eval.Options{Workers: s.o.Train.Workers})
	if err != nil {
		return 0, err
	}
	return ev.Top1, nil
}

// rounded returns the net with its bits, by AdaRound and the correction of biases.
func (s *search) rounded(ctx context.Context, x candidate) (*checkpoint.Checkpoint, error) {
	if len(x.bits) == 0 {
		return x.c, nil
	}
	o := x.quantizer()
	o.AdaRound, o.CorrectBias, o.Images, o.Seed = true, true, s.o.Images, s.o.Train.Seed
	return static(ctx, s.env, x.c, o)
}
