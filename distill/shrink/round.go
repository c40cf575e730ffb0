package shrink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// static quantizes a net of the search.
func static(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o quant.Options) (*checkpoint.Checkpoint, error) {
	out, _, err := quant.Static(ctx, env, bare(c), o)
	return out, err
}

// A proposal is a way to meet a round's limits.
type proposal struct {
	name  string
	block string // the sum whose branch goes first, if any
	kinds []string
}

// proposals lists those of a candidate.
func (s *search) proposals(ctx context.Context, x candidate) ([]proposal, error) {
	all := []proposal{{name: "together", kinds: []string{Width, Bits}}}
	if len(s.o.Bits) > 1 && (s.o.Under.Bytes > 0) {
		all = append(all, proposal{name: "bits", kinds: []string{Bits}}, proposal{name: "widths", kinds: []string{Width}})
	}
	sum, err := s.cheapestBlock(ctx, x)
	if err != nil {
		return nil, err
	}
	if sum != "" {
		all = append(all, proposal{name: "block", block: sum, kinds: []string{Width, Bits}})
	}
	return all, nil
}

// cheapestBlock returns the sum whose branch costs the least divergence when it goes.
func (s *search) cheapestBlock(ctx context.Context, x candidate) (best string, err error) {
	sums := x.c.Net.Branches()
	if len(sums) == 0 {
		return "", nil
	}
	p, err := eval.Predict(ctx, s.env.Backend, x.c, s.survey.images)
	if err != nil {
		return "", err
	}
	least := 0.0
	for _, sum := range sums {
		c, err := x.c.Rewrite(layers.DropBranch(sum))
		if err != nil {
			continue // it is the output, or others share its tensors
		}
		d, err := s.survey.divergence(ctx, p, c)
		if err != nil {
			return "", err
		}
		if best == "" || d < least {
			best, least = sum, d
		}
	}
	return best, nil
}

// round makes the proposals, trains and judges each, and returns the best.
func (s *search) round(ctx context.Context, x candidate, target float64) (best candidate, trial Trial, err error) {
	all, err := s.proposals(ctx, x)
	if err != nil {
		return best, trial, err
	}
	surveyed := make(map[string]*losses) // by the block that goes first
	found, nearest := false, math.Inf(1)
	var least budget.Cost
	for _, p := range all {
		t := Trial{Round: s.journal.Rounds + 1, Name: p.name, Target: target}
		y, err := s.propose(ctx, x, p, &t, surveyed)
		if errors.Is(err, errNoMove) {
			s.log("no such net meets the round's limits", "proposal", p.name)
			if e := s.o.Under.Excess(t.Cost); e < nearest {
				nearest, least = e, t.Cost
			}
			continue
		}
		if err != nil {
			return best, trial, err
		}
		if !found || t.Accuracy > trial.Accuracy {
			best, trial, found = y, t, true
		}
	}
	if !found {
		return best, trial, fmt.Errorf("shrink: %s cannot be met from this net: the nearest that it can come to is %s; ask for that, or start from another net", share(s.o.Under, target), told(s.o.Under, least))
	}
	return best, trial, nil
}

// done returns the trial of the journal that is this one, if it was made already.
func (s *search) done(t Trial) *Trial {
	i := slices.IndexFunc(s.journal.Trials, func(u Trial) bool { return u.Round == t.Round && u.Name == t.Name && u.Target == t.Target })
	if i < 0 {
		return nil
	}
	return &s.journal.Trials[i]
}

// propose makes a proposal's net, trains it, and judges it.
func (s *search) propose(ctx context.Context, x candidate, p proposal, t *Trial, surveyed map[string]*losses) (candidate, error) {
	if old := s.done(*t); old != nil {
		*t = *old
		y, err := x.apply(t.Moves)
		if err != nil {
			return y, err
		}
		y.c, err = checkpoint.Load(s.tuned(*t))
		return y, err
	}
	base := x
	if p.block != "" {
		t.Moves = []Move{{Kind: Block, At: p.block}}
		var err error
		if base, err = x.apply(t.Moves); err != nil {
			return base, err
		}
	}
	l := surveyed[p.block]
	if l == nil {
		var err error
		if l, err = s.survey.survey(ctx, base); err != nil {
			return base, err
		}
		surveyed[p.block] = l
	}
	k := &chooser{meter: s.meter, limits: share(s.o.Under, t.Target), x: base, loss: l, kinds: p.kinds, bits: s.o.Bits, least: s.o.Least}
	moves, cost, err := k.choose(ctx)
	if t.Cost = cost; err != nil {
		return base, err
	}
	t.Moves = append(t.Moves, moves...)
	y, err := x.apply(t.Moves)
	if err != nil {
		return y, err
	}
	if y.c, err = s.trainShort(ctx, y.c, *t); err != nil {
		return y, err
	}
	if t.Accuracy, err = s.judge(ctx, y); err != nil {
		return y, err
	}
	s.log("proposal", "round", t.Round, "name", t.Name, "moves", len(t.Moves), "bytes", t.Cost.Bytes, "macs", t.Cost.MACs, "accuracy", t.Accuracy)
	s.journal.Trials = append(s.journal.Trials, *t)
	return y, s.save()
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
	out, err := s.fit(ctx, s.tune, c, filepath.Join(s.folder(t), "run"), config)
	if err != nil {
		return nil, err
	}
	if _, err := checkpoint.Save(path, out.Best); err != nil {
		return nil, err
	}
	return checkpoint.Load(path)
}

// fit trains a net under the teachers, resumed where an earlier process has stopped.
func (s *search) fit(ctx context.Context, ds *data.Dataset, c *checkpoint.Checkpoint, dir string, config train.Config) (*fit.Outcome, error) {
	j := fit.Job{
		Init: c, Data: ds, Teacher: s.teachers[0], Others: s.teachers[1:], KD: s.o.KD, Preprocess: s.start.Preprocess,
		Config: config, Dir: dir, Logger: s.env.Log, History: s.start.History,
	}
	if _, err := os.Stat(filepath.Join(dir, fit.LastFile)); err == nil {
		j.Resume = true
	}
	return fit.Run(ctx, s.env.Backend, j)
}

// told writes a cost as a budget, with the parts that the limits have.
func told(l budget.Limits, c budget.Cost) string {
	of := func(limit, n int64) int64 {
		if limit == 0 {
			return 0
		}
		return n
	}
	out := budget.Limits{Bytes: of(l.Bytes, c.Bytes), Params: of(l.Params, c.Params), MACs: of(l.MACs, c.MACs), RAM: of(l.RAM, c.RAM), Batch: l.Batch}
	if l.MS > 0 {
		out.MS = c.MS
	}
	return out.String()
}
