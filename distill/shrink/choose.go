package shrink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A chooser fills a knapsack: it takes steps, each time the one that is estimated to
// lose least for what it saves of the limits that are not met, until all are. What a
// step saves is measured on the net as it would be written, with everything chosen so
// far, for a width's bytes depend on those of its neighbors. That is done for few of
// the steps each time: the narrower the rest, the less a step saves, so that a step
// whose earlier ratio of loss to saving is already the worse one need not be looked at
// again (Minoux, "Accelerated greedy algorithms for maximizing submodular set
// functions", 1978).
type chooser struct {
	meter  *budget.Meter
	limits budget.Limits
	x      candidate
	loss   *losses
	kinds  []string // that may be chosen
	bits   []int    // that layers may get, the most first
	least  float64  // share of a group's units that stays

	gone   map[string]int // units, by group
	have   map[string]int // bits, by layer
	costs  map[string]budget.Cost
	groups []string               // in the net's order
	layers []string               // with bits
	hollow *checkpoint.Checkpoint // the net with zeros for weights, which costs the same
}

// shareSteps are the shares of a group's units that go at once.
var shareSteps = []float64{1. / 16, 1. / 8, 1. / 4}

// An option is a step that may be chosen next: units of a group, or the next fewer
// bits of a layer.
type option struct {
	kind, at string
	share    float64 // of the group's units
	// What it came to when it was last looked at, and how many steps had been taken then.
	to    int // units gone, or bits
	cost  budget.Cost
	ratio float64
	seen  int
}

var errNoMove = errors.New("no move is left")

// choose returns the moves by which the candidate meets the limits, and its cost then.
// With no move left it fails with errNoMove and returns the least cost that it has
// come to.
func (k *chooser) choose(ctx context.Context) ([]Move, budget.Cost, error) {
	options, err := k.open()
	if err != nil {
		return nil, budget.Cost{}, err
	}
	cost, err := k.cost(ctx)
	for taken := 1; err == nil && !k.limits.Met(cost); taken++ {
		var best *option
		if best, err = k.next(ctx, options, cost, taken); err != nil {
			break
		}
		cost = best.cost
		switch best.kind {
		case Bits:
			k.have[best.at] = best.to
		case Width:
			k.gone[best.at] = best.to
		}
		for _, o := range options {
			if o.kind == best.kind && o.at == best.at {
				o.ratio, o.seen = math.Inf(-1), 0 // another step now
			}
		}
	}
	return k.moves(), cost, err
}

// open lists what may be chosen.
func (k *chooser) open() (options []*option, err error) {
	k.gone, k.have, k.costs = make(map[string]int), k.x.clone().bits, make(map[string]budget.Cost)
	k.hollow = hollow(k.x.c)
	groups, err := k.x.c.Net.Groups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if k.loss.widths[g.Name] == nil {
			continue
		}
		k.groups = append(k.groups, g.Name)
		if slices.Contains(k.kinds, Width) {
			for _, s := range shareSteps {
				options = append(options, &option{kind: Width, at: g.Name, share: s, ratio: math.Inf(-1)})
			}
		}
	}
	for _, name := range weighted(k.x.c.Net) {
		if k.have[name] == 0 {
			continue
		}
		k.layers = append(k.layers, name)
		if slices.Contains(k.kinds, Bits) {
			options = append(options, &option{kind: Bits, at: name, ratio: math.Inf(-1)})
		}
	}
	return options, nil
}

// next returns the option of the least loss for what it saves.
func (k *chooser) next(ctx context.Context, options []*option, now budget.Cost, taken int) (*option, error) {
	for again := false; ; {
		var best *option
		for _, o := range options {
			if best == nil || o.ratio < best.ratio {
				best = o
			}
		}
		switch {
		case best == nil:
			return nil, errNoMove
		case best.seen == taken && !math.IsInf(best.ratio, 1):
			return best, nil
		case math.IsInf(best.ratio, 1):
			// What has saved nothing may save something now.
			if again {
				return nil, errNoMove
			}
			again = true
			for _, o := range options {
				o.ratio, o.seen = math.Inf(-1), 0
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := k.look(ctx, best, now); err != nil {
			return nil, err
		}
		best.seen = taken
	}
}

// look finds out what an option costs and saves now.
func (k *chooser) look(ctx context.Context, o *option, now budget.Cost) (err error) {
	o.ratio = math.Inf(1)
	loss := 0.0
	switch o.kind {
	case Width:
		c, was := k.loss.widths[o.at], k.gone[o.at]
		if o.to = k.units(c, was, o.share); o.to <= was {
			return nil
		}
		loss = c.at(o.to) - c.at(was)
		k.gone[o.at] = o.to
		o.cost, err = k.cost(ctx)
		k.gone[o.at] = was
	case Bits:
		was := k.have[o.at]
		i := slices.Index(k.bits, was)
		if i < 0 || i+1 == len(k.bits) {
			return nil
		}
		o.to = k.bits[i+1]
		loss = max(k.loss.bits[o.at][o.to]-k.loss.bits[o.at][was], 0)
		k.have[o.at] = o.to
		o.cost, err = k.cost(ctx)
		k.have[o.at] = was
	}
	if err != nil {
		return err
	}
	if less := saved(k.limits, now, o.cost); less > 0 {
		o.ratio = loss / less
	}
	return nil
}

// units returns how many units of a group are gone after a step from was, and was if
// there is no such step. Under a limit of time what stays is a multiple of 8, where
// that is less: kernels take so many channels at once.
func (k *chooser) units(c *curve, was int, share float64) int {
	const together = 8
	size := c.group.Size
	n := was + max(int(share*float64(size)), 1)
	if left := size - n; k.limits.MS > 0 && left > together {
		n = size - left/together*together
	}
	most := min(size-max(int(math.Ceil(k.least*float64(size))), 1), c.take[len(c.take)-1])
	if n > most {
		return was
	}
	return n
}

// moves lists what was chosen.
func (k *chooser) moves() (all []Move) {
	for _, name := range k.groups {
		if n := k.gone[name]; n > 0 {
			c := k.loss.widths[name]
			all = append(all, Move{Kind: Width, At: name, Keep: c.keep(n), Loss: c.at(n)})
		}
	}
	for _, name := range k.layers {
		if b := k.have[name]; b != k.x.bits[name] {
			all = append(all, Move{Kind: Bits, At: name, Bits: b, Loss: k.loss.bits[name][b]})
		}
	}
	return all
}

// saved is the sum, over the limits that are not met, of what a step saves as a share
// of the limit.
func saved(l budget.Limits, from, to budget.Cost) float64 {
	sum := 0.0
	for _, x := range [][3]float64{
		{float64(l.Bytes), float64(from.Bytes), float64(to.Bytes)}, {float64(l.Params), float64(from.Params), float64(to.Params)},
		{float64(l.MACs), float64(from.MACs), float64(to.MACs)}, {float64(l.RAM), float64(from.RAM), float64(to.RAM)},
		{l.MS, from.MS, to.MS},
	} {
		if limit, was, now := x[0], x[1], x[2]; limit > 0 && was > limit {
			sum += (was - max(now, limit)) / limit
		}
	}
	return sum
}

// cost returns that of the net with the units that are gone and the bits that it has.
func (k *chooser) cost(ctx context.Context) (budget.Cost, error) {
	var key strings.Builder
	for _, name := range k.groups {
		fmt.Fprint(&key, k.gone[name], " ")
	}
	for _, name := range k.layers {
		fmt.Fprint(&key, k.have[name], " ")
	}
	if c, ok := k.costs[key.String()]; ok {
		return c, nil
	}
	keep := make(map[string][]int)
	for _, name := range k.groups {
		if n := k.gone[name]; n > 0 {
			keep[name] = k.loss.widths[name].keep(n)
		}
	}
	x := candidate{k.hollow, k.have, k.x.history}
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
