package shrink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/layers/checkpoint"
)

// first is the start net with the most bits.
func (s *search) first() candidate { return withMost(s.start, s.o.Bits, s.history) }

// rounds goes on until the budget is met, or no net is found any more that is nearer to it.
func (s *search) rounds(ctx context.Context) (candidate, error) {
	x, err := s.replay(ctx)
	if err != nil || s.journal.Done {
		return x, err
	}
	if len(s.journal.Trials) == 0 {
		if err := s.begin(ctx, x); err != nil {
			return x, err
		}
	}
	cost := s.last().Cost
	for !s.o.Under.Met(cost) {
		begun, left := time.Now(), s.left()
		excess := s.o.Under.Excess(cost)
		target := math.Pow(excess, 1-1/float64(left))
		best, trial, err := s.round(ctx, x, cost, target)
		if errors.Is(err, errNoMove) {
			s.warn("the budget cannot be met from this net; the nearest that it can come to is trained and written. Stop the search if that is no use", "cost", told(s.o.Under, cost))
			break
		}
		if err != nil {
			return x, err
		}
		if s.last().Accuracy-trial.Accuracy > s.o.Fall && left > 1 && target < 0.9*excess && !s.late(0) {
			s.log("taken back: the round has cost too much, and is made in two", "accuracy", trial.Accuracy)
			switch y, half, err := s.round(ctx, x, cost, math.Sqrt(target*excess)); {
			case err == nil:
				best, trial = y, half
				s.journal.Extra++
			case !errors.Is(err, errNoMove):
				return x, err
			}
		}
		s.accept(trial)
		x, cost = best, trial.Cost
		s.journal.Rounds++
		s.journal.Longest = max(s.journal.Longest, time.Since(begun).Seconds())
		if err := s.save(); err != nil {
			return x, err
		}
	}
	s.journal.Done = true
	return x, s.save()
}

// begin makes the trial of the start net.
func (s *search) begin(ctx context.Context, x candidate) error {
	t := Trial{Name: "start", Accepted: true}
	w, err := x.written()
	if err != nil {
		return err
	}
	if t.Cost, err = s.meter.Cost(ctx, w); err != nil {
		return err
	}
	t.Target = s.o.Under.Excess(t.Cost)
	if err := s.judge(ctx, x, &t); err != nil {
		return err
	}
	s.journal.Trials = append(s.journal.Trials, t)
	s.log("start", "cost", told(s.o.Under, t.Cost), "accuracy", t.Accuracy)
	return s.save()
}

// margin is the share of a limit of time that is used: what is timed again takes as long
// only nearly.
const margin = 0.97

// limits returns those of a round for sums by the table of times: the time of a whole
// program is more than that of its steps, by a factor that the last net has shown.
func (s *search) limits(target float64) budget.Limits {
	l := share(s.o.Under, target)
	l.MS *= margin
	if t := s.last(); t.TableMS > 0 {
		l.MS *= t.TableMS / t.Cost.MS
	}
	return l
}

// left returns the number of rounds that are to come, at least 1.
func (s *search) left() int {
	left := max(s.o.Rounds+s.journal.Extra-s.journal.Rounds, 1)
	if left > 1 && s.late(s.journal.Longest) {
		s.log("the time is over: the budget is to be met in this round", "seconds", s.seconds())
		return 1
	}
	return left
}

// late reports whether the time would be over in so many seconds.
func (s *search) late(in float64) bool { return s.o.Time > 0 && s.seconds()+in > s.o.Time.Seconds() }

// accept marks the trial.
func (s *search) accept(t Trial) {
	s.done(t).Accepted = true
	s.log("accepted", "round", t.Round, "name", t.Name, "cost", told(s.o.Under, t.Cost), "accuracy", t.Accuracy)
}

// done returns the trial of the journal that is this one, nil if there is none.
func (s *search) done(t Trial) *Trial {
	i := slices.IndexFunc(s.journal.Trials, func(u Trial) bool { return u.Round == t.Round && u.Name == t.Name && u.Target == t.Target })
	if i < 0 {
		return nil
	}
	return &s.journal.Trials[i]
}

// last returns the trial that was accepted last.
func (s *search) last() Trial {
	for _, t := range slices.Backward(s.journal.Trials) {
		if t.Accepted {
			return t
		}
	}
	return Trial{}
}

// replay returns the candidate that the accepted rounds have come to. Of a recipe, whose
// nets are not there yet, it makes them.
func (s *search) replay(ctx context.Context) (candidate, error) {
	x := s.first()
	for _, t := range s.journal.Trials {
		if !t.Accepted || t.Name == "start" {
			continue
		}
		var err error
		if x, err = x.apply(t.Moves); err != nil {
			return x, err
		}
		if x.c, err = s.trainShort(ctx, x.c, t); err != nil {
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

// writtenAs returns the file of a trial's net as it would be written.
func (s *search) writtenAs(t Trial) string { return filepath.Join(s.folder(t), "written.safetensors") }

// judge finds the validation accuracy of a candidate as it would be written, which it
// leaves in the trial's folder, and under a limit of time how long its whole program
// takes.
func (s *search) judge(ctx context.Context, x candidate, t *Trial) error {
	c, err := s.rounded(ctx, x)
	if err != nil {
		return err
	}
	if t.Accuracy, err = s.accuracy(ctx, c); err != nil {
		return err
	}
	if s.o.Under.MS > 0 {
		t.TableMS = t.Cost.MS
		if t.Cost.MS, err = Timed(ctx, s.env.Backend, c, s.o.Under.Batch); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.folder(*t), 0o777); err != nil {
		return err
	}
	t.Judged = true
	return s.write(c, s.writtenAs(*t))
}

// accuracy returns that of a net on the validation images.
func (s *search) accuracy(ctx context.Context, c *checkpoint.Checkpoint) (float64, error) {
	ev, err := eval.Evaluate(ctx, s.env.Backend, c, s.env.Data.Val, eval.Options{Workers: s.o.Train.Workers})
	if err != nil {
		return 0, err
	}
	return ev.Top1, nil
}

// rounded returns the net with its bits, by AdaRound (unless Options.Nearest is set) and
// the correction of biases.
func (s *search) rounded(ctx context.Context, x candidate) (*checkpoint.Checkpoint, error) {
	if len(x.bits) == 0 {
		return x.c, nil
	}
	o := x.quantizer()
	o.AdaRound, o.CorrectBias, o.Images, o.Seed = !s.o.Nearest, true, s.o.Images, s.o.Train.Seed
	return static(ctx, s.env, x.c, o)
}

// write saves a net with the history that the search's files have.
func (s *search) write(c *checkpoint.Checkpoint, path string) error {
	clean := bare(c)
	clean.History = s.history
	_, err := checkpoint.Save(path, clean)
	return err
}

// bestSoFar returns the file of the net that the search would end with now, and its
// validation accuracy.
func (s *search) bestSoFar() (path string, accuracy float64, ok bool) {
	for _, t := range slices.Backward(s.journal.Trials) {
		if t.Accepted {
			path, accuracy, ok = s.writtenAs(t), t.Accuracy, true
			break
		}
	}
	if j := s.journal; j.Float > 0 && j.Float >= accuracy {
		path, accuracy, ok = s.floatPath(), j.Float, true
	}
	bits := filepath.Join(s.bitsFolder(), fit.BestFile)
	if c, err := checkpoint.Load(bits); err == nil && c.Metrics["val_accuracy"] > accuracy {
		path, accuracy, ok = bits, c.Metrics["val_accuracy"], true
	}
	return path, accuracy, ok
}
