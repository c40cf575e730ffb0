package shrink

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A chooser fills a knapsack: it takes moves, each time the one that is estimated to
// lose least for what it saves of the limits that are not met, until all are. What a
// step saves is measured on the net as it would be written, with everything chosen so
// far, for a width's bytes depend on those of its neighbors.
type chooser struct {
	meter  *budget.Meter
	limits budget.Limits
	x      candidate
	loss   *losses
	kinds  []string // that may be chosen
	bits   []int    // that layers may get, the most first
	least  float64  // share of a group's units that stays

	gone   map[string]int // units, by group
	costs  map[string]budget.Cost
	names  []string               // of groups, in the net's order
	hollow *checkpoint.Checkpoint // the net with zeros for weights, which costs the same
}

// steps are the shares of a group's units that go at once.
var steps = []float64{1. / 16, 1. / 8, 1. / 4}

// choose returns the moves by which the candidate meets the limits, and its cost then.
// With no move left it fails and returns the least cost that it has come to.
func (k *chooser) choose(ctx context.Context) ([]Move, budget.Cost, error) {
	k.gone, k.costs = make(map[string]int), make(map[string]budget.Cost)
	k.hollow = hollow(k.x.c)
	groups, err := k.x.c.Net.Groups()
	if err != nil {
		return nil, budget.Cost{}, err
	}
	for _, g := range groups {
		if k.loss.widths[g.Name] != nil {
			k.names = append(k.names, g.Name)
		}
	}
	x := k.x.clone()
	cost, err := k.cost(ctx, x.bits)
	if err != nil {
		return nil, cost, err
	}
	for !k.limits.Met(cost) {
		best, to, ratio := Move{}, cost, math.Inf(1)
		try := func(m Move, bits map[string]int) error {
			now, err := k.cost(ctx, bits)
			if err != nil {
				return err
			}
			if saved := k.saved(cost, now); saved > 0 && m.Loss/saved < ratio {
				best, to, ratio = m, now, m.Loss/saved
			}
			return nil
		}
		if err := k.tryWidths(x, try); err != nil {
			return nil, cost, err
		}
		if err := k.tryBits(x, try); err != nil {
			return nil, cost, err
		}
		switch best.Kind {
		case "":
			return nil, cost, errNoMove
		case Bits:
			x.bits[best.At] = best.Bits
		case Width:
			k.gone[best.At] = len(k.loss.widths[best.At].order) - len(best.Keep)
		}
		cost = to
	}
	return k.moves(x.bits), cost, nil
}

var errNoMove = fmt.Errorf("no move is left")

// moves lists what was chosen.
func (k *chooser) moves(bits map[string]int) (all []Move) {
	for _, name := range k.names {
		if n := k.gone[name]; n > 0 {
			c := k.loss.widths[name]
			all = append(all, Move{Kind: Width, At: name, Keep: c.keep(n), Loss: c.at(n)})
		}
	}
	for _, name := range weighted(k.x.c.Net) {
		if b := bits[name]; b != k.x.bits[name] {
			all = append(all, Move{Kind: Bits, At: name, Bits: b, Loss: k.loss.bits[name][b]})
		}
	}
	return all
}

func (k *chooser) tryWidths(x candidate, try func(Move, map[string]int) error) error {
	if !slices.Contains(k.kinds, Width) {
		return nil
	}
	for _, name := range k.names {
		c, was := k.loss.widths[name], k.gone[name]
		most := min(c.group.Size-max(int(math.Ceil(k.least*float64(c.group.Size))), 1), c.take[len(c.take)-1])
		for _, s := range steps {
			n := was + max(int(s*float64(c.group.Size)), 1)
			if n > most {
				break
			}
			k.gone[name] = n
			err := try(Move{Kind: Width, At: name, Keep: c.order[n:], Loss: c.at(n) - c.at(was)}, x.bits)
			k.gone[name] = was
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *chooser) tryBits(x candidate, try func(Move, map[string]int) error) error {
	if !slices.Contains(k.kinds, Bits) {
		return nil
	}
	for _, name := range weighted(k.x.c.Net) {
		now := x.bits[name]
		i := slices.Index(k.bits, now)
		if now == 0 || i < 0 || i+1 == len(k.bits) {
			continue
		}
		next := k.bits[i+1]
		x.bits[name] = next
		l := k.loss.bits[name]
		err := try(Move{Kind: Bits, At: name, Bits: next, Loss: max(l[next]-l[now], 0)}, x.bits)
		x.bits[name] = now
		if err != nil {
			return err
		}
	}
	return nil
}

// saved is the sum, over the limits that are not met, of what a step saves as a share
// of the limit.
func (k *chooser) saved(from, to budget.Cost) float64 {
	sum := 0.0
	for _, x := range [][3]float64{
		{float64(k.limits.Bytes), float64(from.Bytes), float64(to.Bytes)}, {float64(k.limits.Params), float64(from.Params), float64(to.Params)},
		{float64(k.limits.MACs), float64(from.MACs), float64(to.MACs)}, {float64(k.limits.RAM), float64(from.RAM), float64(to.RAM)},
		{k.limits.MS, from.MS, to.MS},
	} {
		if limit, was, now := x[0], x[1], x[2]; limit > 0 && was > limit {
			sum += (was - max(now, limit)) / limit
		}
	}
	return sum
}

// cost returns that of the net with the units that are gone and these bits.
func (k *chooser) cost(ctx context.Context, bits map[string]int) (budget.Cost, error) {
	var key strings.Builder
	for _, name := range k.names {
		fmt.Fprint(&key, k.gone[name], " ")
	}
	for _, name := range weighted(k.x.c.Net) {
		fmt.Fprint(&key, bits[name], " ")
	}
	if c, ok := k.costs[key.String()]; ok {
		return c, nil
	}
	keep := make(map[string][]int)
	for _, name := range k.names {
		if n := k.gone[name]; n > 0 {
			keep[name] = k.loss.widths[name].keep(n)
		}
	}
	x := candidate{k.hollow, bits, k.x.history}
	if len(keep) > 0 {
		c, err := k.hollow.Rewrite(layers.Select(keep))
		if err != nil {
			return budget.Cost{}, err
		}
		x.c = c
	}
	w, err := x.written()
	if err != nil {
		return budget.Cost{}, err
	}
	cost, err := k.meter.Cost(ctx, w)
	k.costs[key.String()] = cost
	return cost, err
}

// hollow returns the net with zeros for values.
func hollow(c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	out := bare(c)
	out.State = slices.Clone(c.State)
	for i := range out.State {
		e := &out.State[i]
		e.Data, e.Codes = make([]float32, len(e.Data)), nil
	}
	return out
}
