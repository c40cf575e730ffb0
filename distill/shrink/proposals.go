package shrink

import (
	"context"
	"math"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/lowrank"
	"github.com/potstill/potstill/layers"
)

// A proposal is a way to meet a round's limits: some moves of the structure, and then
// widths and bits by the knapsack.
type proposal struct {
	name  string
	kinds []string // of the knapsack
	short bool     // the net is wanted that comes nearest to the limits, as none meets them
	// first finds the moves that are made before; nil for none. With none found there
	// is no such proposal.
	first func(ctx context.Context, x candidate) ([]Move, error)
}

// proposals lists those of a round, whose candidate costs so much.
func (s *search) proposals(cost budget.Cost) []proposal {
	kinds := []string{Width}
	if len(s.o.Bits) > 1 {
		kinds = append(kinds, Bits)
	}
	all := []proposal{{name: "together", kinds: kinds}}
	if len(s.o.Bits) > 1 && s.o.Under.Bytes > 0 {
		all = append(all, proposal{name: "bits", kinds: []string{Bits}}, proposal{name: "widths", kinds: []string{Width}})
	}
	ranks := func(ctx context.Context, x candidate) ([]Move, error) { return s.ranks(ctx, x, cost) }
	all = append(all, proposal{name: "block", kinds: kinds, first: s.cheapestBlock}, proposal{name: "ranks", kinds: kinds, first: ranks})
	if u := s.o.Under; u.MACs > 0 || u.MS > 0 || u.RAM > 0 {
		all = append(all, proposal{name: "size", kinds: kinds, first: s.smaller})
	}
	return all
}

// cheapestBlock returns the branch beside a shortcut that costs the least divergence
// when it goes.
func (s *search) cheapestBlock(ctx context.Context, x candidate) ([]Move, error) {
	sums := x.c.Net.Branches()
	if len(sums) == 0 {
		return nil, nil
	}
	p, err := eval.Predict(ctx, s.env.Backend, x.c, s.survey.images)
	if err != nil {
		return nil, err
	}
	var best []Move
	for _, sum := range sums {
		c, err := x.c.Rewrite(layers.DropBranch(sum))
		if err != nil {
			continue // it is the output, or others share its tensors
		}
		d, err := s.survey.divergence(ctx, p, c)
		if err != nil {
			return nil, err
		}
		if best == nil || d < best[0].Loss {
			best = []Move{{Kind: Block, At: sum, Loss: d}}
		}
	}
	return best, nil
}

// The share of a layer's multiply-adds that is left when it is taken apart, and the
// share of the net's that a layer must have to be looked at.
const (
	rankShare = 0.5
	rankLeast = 0.02
)

// ranks returns the layers that are worth taking apart: those that lose less for what
// they save of the round's limits than the steps of widths and bits that the round's
// first proposal has taken, on the whole.
func (s *search) ranks(ctx context.Context, x candidate, cost budget.Cost) ([]Move, error) {
	price, ok := s.price(cost)
	if !ok {
		return nil, nil
	}
	splits, err := lowrank.Within(ctx, x.c, rankShare)
	if err != nil {
		return nil, err
	}
	p, err := eval.Predict(ctx, s.env.Backend, x.c, s.survey.images)
	if err != nil {
		return nil, err
	}
	var moves []Move
	for _, split := range splits {
		if float64(split.MACsBefore) < rankLeast*float64(cost.MACs) && float64(split.ParamsBefore) < rankLeast*float64(cost.Params) {
			continue
		}
		m := Move{Kind: Rank, At: split.Layer, Form: split.Form, Ranks: split.Ranks}
		y, err := x.apply([]Move{m})
		if err != nil {
			return nil, err
		}
		w, err := y.written()
		if err != nil {
			return nil, err
		}
		now, err := s.meter.Cost(ctx, w)
		if err != nil {
			return nil, err
		}
		if t := s.last(); t.TableMS > 0 { // the time of a whole program, as cost has it
			now.MS *= t.Cost.MS / t.TableMS
		}
		if m.Loss, err = s.survey.divergence(ctx, p, y.c); err != nil {
			return nil, err
		}
		if less := saved(s.o.Under, cost, now); less > 0 && m.Loss/less < price {
			moves = append(moves, m)
		}
	}
	return moves, nil
}

// price is what the present round's first proposal has lost for what it saves of the
// limits.
func (s *search) price(from budget.Cost) (float64, bool) {
	t := s.done(Trial{Round: s.journal.Rounds + 1, Name: "together", Target: s.target})
	if t == nil {
		return 0, false
	}
	loss := 0.0
	for _, m := range t.Moves {
		loss += m.Loss
	}
	less := saved(s.o.Under, from, t.Cost)
	return loss / less, less > 0 && !math.IsInf(loss, 0)
}

// Images become smaller by an eighth, to a multiple of 4, and not smaller than this.
const leastSize = 16

// smaller returns the move to smaller images, where the net takes any.
func (s *search) smaller(ctx context.Context, x candidate) ([]Move, error) {
	from := x.c.Preprocess.Size
	to := from * 7 / 8 / 4 * 4
	if x.c.Net.Input.Height > 0 || to < leastSize {
		return nil, nil
	}
	m := Move{Kind: Size, Size: to}
	y, err := x.apply([]Move{m})
	if err != nil {
		return nil, err
	}
	if _, err := s.meter.Cost(ctx, bare(y.c)); err != nil {
		return nil, nil //nolint:nilerr // the net has no place for such images: there is no such move
	}
	p, err := eval.Predict(ctx, s.env.Backend, x.c, s.survey.images)
	if err != nil {
		return nil, err
	}
	if m.Loss, err = s.survey.divergence(ctx, p, y.c); err != nil {
		return nil, err
	}
	return []Move{m}, nil
}
