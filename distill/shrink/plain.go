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
	if len(s.journal.Trials) == 0 {
		if err := s.alike(ctx); err != nil {
			return nil, err
		}
	}
	x, err := s.first().apply(s.journal.Trials[0].Moves)
	if err != nil {
		return nil, err
	}
	out, err := s.finish(ctx, x)
	if err != nil && !errors.Is(err, ErrOver) { // what it costs is told beside it
		return nil, err
	}
	s.journal.Done = true
	// There is no search that its recipe could repeat.
	return out.Best, errors.Join(os.Remove(out.Recipe), s.save())
}

// alike finds the least share of all widths whose cut meets the limits, and puts the cut
// into the journal. Under a limit of time the share is found by the table, and found
// again by what the whole program takes, until that is met.
func (s *search) alike(ctx context.Context) error {
	criterion, err := s.criterion(ctx)
	if err != nil {
		return err
	}
	t := Trial{Name: "plain", Accepted: true}
	const tries = 5
	for range tries {
		if err := s.cutAlike(ctx, criterion, s.limits(1), &t); err != nil {
			return err
		}
		if s.o.Under.MS == 0 {
			break
		}
		x, err := s.first().apply(t.Moves)
		if err != nil {
			return err
		}
		w, err := x.written()
		if err != nil {
			return err
		}
		t.TableMS = t.Cost.MS
		if t.Cost.MS, err = Timed(ctx, s.env.Backend, w, s.o.Under.Batch); err != nil {
			return err
		}
		s.journal.Trials = []Trial{t} // by which the next limits are
		if s.o.Under.Met(t.Cost) {
			break
		}
	}
	s.journal.Trials = []Trial{t}
	s.log("the plain recipe cuts every width alike", "criterion", criterion, "cost", told(s.o.Under, t.Cost))
	return s.save()
}

// cutAlike finds the moves of the least share, in 1,024ths, that meets the limits, and
// what the net then costs.
func (s *search) cutAlike(ctx context.Context, criterion string, limits budget.Limits, t *Trial) error {
	const parts = 1 << 10
	met := func(i int) (bool, error) {
		var moves []Move
		var err error
		if i > 0 {
			if moves, err = s.shareMoves(ctx, criterion, float64(i)/parts); err != nil {
				return false, err
			}
		}
		x, err := s.first().apply(moves)
		if err != nil {
			return false, err
		}
		w, err := x.written()
		if err != nil {
			return false, err
		}
		cost, err := s.meter.Cost(ctx, w)
		if err != nil || !limits.Met(cost) {
			return false, err
		}
		t.Moves, t.Cost = moves, cost
		return true, nil
	}
	if ok, err := met(0); ok || err != nil {
		return err
	}
	lo, hi := 0, parts-1 // lo does not meet the limits, hi does
	if ok, err := met(hi); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%w: %s is not met with one channel left of each group", ErrNotPlain, s.o.Under)
	}
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		ok, err := met(mid)
		if err != nil {
			return err
		}
		if ok {
			hi = mid
		} else {
			lo = mid
		}
	}
	return nil
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

// shareMoves returns the moves that cut a share of each group's units.
func (s *search) shareMoves(ctx context.Context, criterion string, share float64) (moves []Move, err error) {
	_, r, err := prune.Cut(ctx, s.env, s.start, prune.Options{Criterion: criterion, Ratio: share})
	if err != nil {
		return nil, err
	}
	groups, err := s.start.Net.Groups()
	if err != nil {
		return nil, err
	}
	i := 0
	for _, g := range groups {
		if g.Fixed != "" {
			continue
		}
		if kept := r.Kept[i]; kept != nil && len(kept) < g.Size {
			moves = append(moves, Move{Kind: Width, At: g.Name, Keep: kept})
		}
		i++
	}
	return moves, nil
}
