package shrink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/layers/checkpoint"
)

// PlainDir is the folder of the plain recipe, in that of the search.
const PlainDir = "plain"

// ErrNotPlain is what errors of Plain wrap where no share of the widths meets the budget.
var ErrNotPlain = errors.New("the plain recipe cannot meet the budget")

// Plain makes what the budget gives without a search: of each channel group of the
// start net the same share goes, the least that meets the limits, and every weight has
// the most bits. Channels are ranked by the scales of their batch norms where all have
// them, else by the sizes of their weights (prune.Options, bn-scale and l1). The net is
// then trained as the final net of a search is: as many epochs in float32 and with
// bits, under the same teachers. It lies in the folder PlainDir below env.Dir; what an
// earlier process has done there is not done again.
func Plain(ctx context.Context, env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	times, err := budget.OpenTable(filepath.Join(env.Dir, timesFile))
	if err != nil {
		return nil, err
	}
	env.Dir = filepath.Join(env.Dir, PlainDir)
	s, err := newSearch(env, start, teachers, o.withDefaults())
	if err != nil {
		return nil, err
	}
	s.meter.Times = times
	e := &s.history[len(s.history)-1]
	e.Detail = fmt.Sprintf("the plain recipe under %s, %d epochs, seed %d", s.o.Under, s.o.Train.Epochs, s.o.Train.Seed)
	if s.journal.Done {
		c, err := checkpoint.Load(filepath.Join(s.dir, ResultFile))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return c, err
		}
	}
	x, err := s.alike(ctx)
	if err != nil {
		return nil, err
	}
	out, err := s.finish(ctx, x)
	if err != nil {
		return nil, err
	}
	s.journal.Done = true
	// There is no search that its recipe could repeat.
	return out.Best, errors.Join(os.Remove(out.Recipe), s.save())
}

// alike returns the start net with the most bits and the least share of all widths cut
// that meets the limits.
func (s *search) alike(ctx context.Context) (candidate, error) {
	best := s.first()
	met, err := s.within(ctx, best)
	if err != nil || met {
		return best, err
	}
	o := prune.Options{Criterion: "l1"}
	if o.Criterion, err = s.criterion(ctx); err != nil {
		return best, err
	}
	const parts = 1 << 10
	at := func(i int) (candidate, bool, error) {
		x := s.first()
		o.Ratio = float64(i) / parts
		c, _, err := prune.Cut(ctx, s.env, s.start, o)
		if err != nil {
			return x, false, err
		}
		x.c = c
		met, err := s.within(ctx, x)
		return x, met, err
	}
	lo, hi := 0, parts-1 // lo does not meet the limits, hi does
	if best, met, err = at(hi); err != nil {
		return best, err
	}
	if !met {
		return best, fmt.Errorf("%w: %s is not met with one channel left of each group", ErrNotPlain, s.o.Under)
	}
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		x, met, err := at(mid)
		if err != nil {
			return best, err
		}
		if met {
			hi, best = mid, x
		} else {
			lo = mid
		}
	}
	s.log("the plain recipe cuts every width alike", "criterion", o.Criterion, "share", float64(hi)/parts)
	return best, errors.Join(s.meter.Times.Save())
}

// criterion returns bn-scale, if that says something of all groups, else l1.
func (s *search) criterion(ctx context.Context) (string, error) {
	of := func(name string) (map[string][]float64, error) {
		return prune.Importance(ctx, s.env, s.start, prune.Options{Criterion: name})
	}
	weights, err := of("l1")
	if err != nil {
		return "", err
	}
	scales, err := of("bn-scale")
	if err != nil || len(scales) < len(weights) { // an error says that there are none
		return "l1", nil
	}
	return "bn-scale", nil
}

// within reports whether a candidate meets the limits.
func (s *search) within(ctx context.Context, x candidate) (bool, error) {
	w, err := x.written()
	if err != nil {
		return false, err
	}
	cost, err := s.meter.Cost(ctx, w)
	return s.o.Under.Met(cost), err
}
