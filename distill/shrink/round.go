package shrink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// round makes the proposals, trains and judges each, and returns the best. Once the
// time is over it goes on from what there is. Where no net meets the limits, it returns
// the one that comes nearest to them, or fails with errNoMove if that is no nearer than
// the candidate itself.
func (s *search) round(ctx context.Context, x candidate, cost budget.Cost, target float64) (best candidate, trial Trial, err error) {
	s.target = target
	surveyed := make(map[string]*losses) // by the proposal's first moves
	found, nearest, least := false, proposal{}, nearer*s.o.Under.Excess(cost)
	for _, p := range s.proposals(cost) {
		if found && s.late(0) {
			s.log("the time is over; this round makes no more proposals")
			break
		}
		t := Trial{Round: s.journal.Rounds + 1, Name: p.name, Target: target}
		y, err := s.propose(ctx, x, p, &t, surveyed)
		switch {
		case errors.Is(err, errNoMove):
			s.log("no such net meets the round's limits", "proposal", p.name)
			if e := s.o.Under.Excess(t.Cost); e < least {
				nearest, least = p, e
			}
		case errors.Is(err, errNoProposal):
		case err != nil:
			return best, trial, err
		case !found || better(s.o.Under, t, trial):
			best, trial, found = y, t, true
		}
	}
	if found {
		return best, trial, nil
	}
	if nearest.name == "" {
		return best, trial, errNoMove
	}
	nearest.short = true
	t := Trial{Round: s.journal.Rounds + 1, Name: nearest.name, Target: target}
	best, err = s.propose(ctx, x, nearest, &t, surveyed)
	return best, t, err
}

// nearer is the share of the worst limit's excess that a round must at least leave
// behind which does not meet its limits.
const nearer = 0.99

// better reports whether a trial is better than another: by its accuracy, and of two
// that are equal, by what it costs.
func better(l budget.Limits, a, b Trial) bool {
	if a.Accuracy != b.Accuracy {
		return a.Accuracy > b.Accuracy
	}
	return l.Excess(a.Cost) < l.Excess(b.Cost)
}

var errNoProposal = errors.New("there is no such proposal")

// propose makes a proposal's net, trains it, and judges it. What it decides is in the
// journal before it trains, so that a search that is resumed trains the same net.
func (s *search) propose(ctx context.Context, x candidate, p proposal, t *Trial, surveyed map[string]*losses) (candidate, error) {
	old := s.done(*t)
	if old == nil {
		if err := s.decide(ctx, x, p, t, surveyed); err != nil && !(p.short && errors.Is(err, errNoMove)) {
			return x, err
		}
		s.journal.Trials = append(s.journal.Trials, *t)
		if err := s.save(); err != nil {
			return x, err
		}
		old = s.done(*t)
	}
	y, err := x.apply(old.Moves)
	if err != nil {
		return y, err
	}
	if y.c, err = s.trainShort(ctx, y.c, *old); err != nil {
		return y, err
	}
	if !old.Judged {
		if err := s.judge(ctx, y, old); err != nil {
			return y, err
		}
		if err := s.save(); err != nil {
			return y, err
		}
		s.log("proposal", "round", t.Round, "name", t.Name, "moves", len(old.Moves), "cost", told(s.o.Under, old.Cost), "accuracy", old.Accuracy)
	}
	*t = *old
	return y, nil
}

// decide finds a proposal's moves and what its net costs.
func (s *search) decide(ctx context.Context, x candidate, p proposal, t *Trial, surveyed map[string]*losses) error {
	base, name := x, ""
	if p.first != nil {
		var err error
		if t.Moves, err = p.first(ctx, x); err != nil {
			return err
		}
		if len(t.Moves) == 0 {
			return errNoProposal
		}
		if base, err = x.apply(t.Moves); err != nil {
			return err
		}
		name = p.name
	}
	l := surveyed[name]
	if l == nil {
		var err error
		if l, err = s.survey.survey(ctx, base); err != nil {
			return err
		}
		surveyed[name] = l
	}
	k := &chooser{meter: s.meter, limits: s.limits(t.Target), x: base, loss: l, kinds: p.kinds, bits: s.o.Bits, least: s.o.Least}
	moves, cost, err := k.choose(ctx)
	t.Cost, t.Moves = cost, append(t.Moves, moves...)
	return err
}

// trainShort trains a proposal for one epoch on some images.
func (s *search) trainShort(ctx context.Context, c *checkpoint.Checkpoint, t Trial) (*checkpoint.Checkpoint, error) {
	path := s.tuned(t)
	if done, err := checkpoint.Load(path); err == nil {
		return done, nil
	}
	if out, err := eval.Recalibrate(ctx, s.env.Backend, c, s.env.Train(), 1024); err == nil { // nets without batch norms have none
		c = out
	}
	config := s.o.Train
	config.Epochs, config.Optimizer.LR = 1, s.o.Train.Optimizer.LR/10
	config.Schedule = train.ScheduleConfig{Kind: train.Cosine}
	out, err := s.fit(ctx, s.tune, c, filepath.Join(s.folder(t), "run"), fmt.Sprintf("round %d, %s", t.Round, t.Name), config)
	if err != nil {
		return nil, err
	}
	if _, err := checkpoint.Save(path, out.Best); err != nil {
		return nil, err
	}
	return checkpoint.Load(path)
}

// fit trains a net under the teachers, resumed where an earlier process has stopped.
func (s *search) fit(ctx context.Context, ds *data.Dataset, c *checkpoint.Checkpoint, dir, stage string, config train.Config) (*fit.Outcome, error) {
	if n := c.Preprocess.Size; n > 0 {
		config.Train, config.Eval = resizedTransform(config.Train, n), c.Preprocess.Transform()
	}
	j := fit.Job{
		Init: c, Data: ds, Teacher: s.teachers[0], Others: s.teachers[1:], KD: s.o.KD, Preprocess: c.Preprocess,
		Config: config, Dir: dir, History: s.start.History,
	}
	j.Step = s.o.steps(stage, ds.Train.Len(), config)
	if config.Epochs > 1 {
		j.Epoch = func(e train.EpochInfo) {
			s.log(stage, "epoch", e.Epoch, "of", config.Epochs, "loss", e.TrainLoss, "val_accuracy", e.ValAccuracy)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, fit.LastFile)); err == nil {
		j.Resume = true
	}
	return fit.Run(ctx, s.env.Backend, j)
}

// told writes a cost as a budget, with the parts that the limits have, and a time in four
// digits.
func told(l budget.Limits, c budget.Cost) string {
	of := func(limit, n int64) int64 {
		if limit == 0 {
			return 0
		}
		return n
	}
	out := budget.Limits{Bytes: of(l.Bytes, c.Bytes), Params: of(l.Params, c.Params), MACs: of(l.MACs, c.MACs), RAM: of(l.RAM, c.RAM), Batch: l.Batch}
	if l.MS > 0 {
		out.MS, _ = strconv.ParseFloat(strconv.FormatFloat(c.MS, 'g', 4, 64), 64)
	}
	return out.String()
}
