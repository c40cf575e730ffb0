package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Cut returns a copy of a checkpoint's model without the channels that matter
// least by a criterion, and what was cut. Any net can be cut. The copy has no
// metrics and no state of a training run, and is stored in 32 bits. The channels
// that stay keep their order.
func Cut(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if err := c.CheckFinite(); err != nil {
		return nil, nil, fmt.Errorf("prune: %w", err) // it names the file
	}
	out, r, err := cut(ctx, env, c, o.withDefaults())
	if err != nil {
		return nil, nil, compress.Failed("prune", c, err)
	}
	return out, r, nil
}

// A cutter is one cut at work.
type cutter struct {
	env    compress.Env
	c      *checkpoint.Checkpoint
	o      Options
	groups []layers.Group
	why    map[string]string // why a group stays whole, by its name
	rank   *ranking
	h, w   int // of the images
	dense  Cost
	before layers.Summary
	notes  []string
}

func cut(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, nil, err
	}
	groups, err := c.Net.Groups()
	if err != nil {
		return nil, nil, err
	}
	k := &cutter{env: env, c: c, o: o, groups: groups, why: make(map[string]string)}
	if err := k.measureDense(); err != nil {
		return nil, nil, err
	}
	stats, err := k.statistics(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := k.prepare(stats); err != nil {
		return nil, nil, err
	}
	ratio, size, err := k.solve(ctx)
	if err != nil {
		return nil, nil, err
	}
	out, r, err := k.finish(ctx, ratio, size)
	if err != nil || o.Recalibrate == 0 {
		return out, r, err
	}
	out, err = eval.Recalibrate(ctx, env.Backend, out, env.Train(), o.Recalibrate)
	return out, r, err
}

// prepare makes the candidates.
func (k *cutter) prepare(stats *statistics) error {
	o, n := &k.o, k.c.Net
	own, err := k.patterns()
	if err != nil {
		return err
	}
	criterion, err := criterionOf(o.Criterion)
	if err != nil {
		return err
	}
	whole, err := k.whole()
	if err != nil {
		return err
	}
	s := &scorer{net: n, state: k.c.State, criterion: criterion, reduce: o.Reduce, normalize: o.Normalize, stats: stats, seed: o.Seed, compat: o.Compat != ""}
	k.rank = &ranking{compat: s.compat, global: o.Rank != "local", roundTo: o.RoundTo}
	for i := range k.groups {
		g := &k.groups[i]
		switch {
		case k.why[g.Name] != "":
			continue
		case g.Fixed != "":
			k.why[g.Name] = g.Fixed
			continue
		case g.Size == 1:
			k.why[g.Name] = fmt.Sprintf("its %d channels go together", g.Width)
			continue
		}
		score, err := s.score(i, g)
		if err != nil {
			return err
		}
		if score == nil {
			k.why[g.Name] = fmt.Sprintf("%s says nothing of its channels", o.Criterion)
			continue
		}
		c := &candidate{Group: g, score: score, scope: scopeOf(n, g, o.Rank), whole: whole[g.Name], step: 1}
		c.least = min(max(1, int(math.Ceil(float64(c.whole/g.Width)*(1-o.MaxRatio)))), g.Size)
		if o.RoundTo > 1 {
			c.step = o.RoundTo / gcd(o.RoundTo, g.Width)
		}
		c.ratio, c.own = own[g.Name]
		c.sort()
		k.rank.candidates = append(k.rank.candidates, c)
	}
	if len(k.rank.candidates) == 0 {
		return k.nothing()
	}
	return nil
}

// whole returns how many channels the groups that can be cut had before the first
// of several cuts, by their names.
func (k *cutter) whole() (map[string]int, error) {
	all := make(map[string]int)
	n := 0
	for _, g := range k.groups {
		if g.Fixed != "" {
			continue
		}
		all[g.Name] = g.Size * g.Width
		if k.o.Whole != nil && n < len(k.o.Whole) {
			if all[g.Name] = k.o.Whole[n]; all[g.Name] < g.Size*g.Width {
				return nil, fmt.Errorf("%s has %d channels, and would have had %d before the first cut", g.Name, g.Size*g.Width, all[g.Name])
			}
		}
		n++
	}
	if k.o.Whole != nil && len(k.o.Whole) != n {
		return nil, fmt.Errorf("%d widths are given of the net before the first cut, and it has %d", len(k.o.Whole), n)
	}
	return all, nil
}

// ErrNothing is what errors wrap of nets of which nothing can be cut.
var ErrNothing = errors.New("nothing can be cut")

// nothing is the error where no group can be cut.
func (k *cutter) nothing() error {
	for _, g := range k.groups {
		if g.Fixed == "" {
			return fmt.Errorf("%w: %s stays (%s); choose another criterion or protect less", ErrNothing, g.Name, k.why[g.Name])
		}
	}
	return fmt.Errorf("%w: the net has no channels but the image's and the classes", ErrNothing)
}

// patterns finds the groups that are protected, and those with ratios of their own.
func (k *cutter) patterns() (map[string]float64, error) {
	n := k.c.Net
	for _, p := range k.o.Protect {
		at, err := byPattern(n, k.groups, p)
		if err != nil {
			return nil, err
		}
		for _, i := range at {
			k.why[k.groups[i].Name] = fmt.Sprintf("protected by %s", p)
		}
	}
	own := make(map[string]float64)
	list, err := k.o.layerRatios()
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		at, err := byPattern(n, k.groups, l.pattern)
		if err != nil {
			return nil, err
		}
		for _, i := range at {
			g := &k.groups[i]
			why := cmp.Or(k.why[g.Name], g.Fixed)
			if why != "" && l.ratio > 0 {
				return nil, fmt.Errorf("a ratio is asked for %s, which cannot be cut: %s", g.Name, why)
			}
			own[g.Name] = l.ratio
		}
	}
	return own, nil
}

// made returns the checkpoint with so many units of each candidate.
func (k *cutter) made(ratio float64, size []int) (*checkpoint.Checkpoint, error) {
	out := &checkpoint.Checkpoint{Classes: k.c.Classes, Preprocess: k.c.Preprocess}
	var err error
	if out.Net, out.State, err = layers.Select(k.rank.keep(size))(k.c.Net, k.c.State); err != nil {
		return nil, err
	}
	for i := range out.State {
		e := &out.State[i]
		e.Data, e.Int, e.Codes = slices.Clone(e.Data), slices.Clone(e.Int), nil
	}
	return out, compress.Derive(out, k.c, "prune", k.o.detail(ratio))
}

// finish cuts and reports.
func (k *cutter) finish(ctx context.Context, ratio float64, size []int) (*checkpoint.Checkpoint, *Report, error) {
	out, err := k.made(ratio, size)
	if err != nil {
		return nil, nil, err
	}
	m, err := out.Net.Model()
	if err != nil {
		return nil, nil, err
	}
	after, err := m.Summary(k.h, k.w)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{
		Before: k.c.Net.Arch(), After: out.Net.Arch(), Criterion: k.o.Criterion, Rank: k.o.Rank, Ratio: ratio,
		ParamsBefore: k.before.Params, ParamsAfter: after.Params, Notes: k.notes,
		Layers: layerCuts(k.c.Net, k.before, after, k.groups, k.why),
		Costs:  &Costs{Before: k.dense, After: Cost{Params: after.Params, MACs: after.MACs}, Batch: max(k.o.Batch, 1), Height: k.h, Width: k.w},
	}
	if r.Costs.After.Bytes, err = checkpoint.Size(out); err != nil {
		return nil, nil, err
	}
	if err := k.timed(ctx, out, r); err != nil {
		return nil, nil, err
	}
	if r.WidthsBefore, err = WidthsOf(k.c.Net); err != nil {
		return nil, nil, err
	}
	if r.WidthsAfter, err = WidthsOf(out.Net); err != nil {
		return nil, nil, err
	}
	keep := k.rank.keep(size)
	for i := range k.groups {
		g := &k.groups[i]
		if g.Fixed == "" {
			r.Kept = append(r.Kept, keep[g.Name])
		}
		if why := k.why[g.Name]; why != "" {
			r.Protected = append(r.Protected, Protected{g.Name, why})
		}
	}
	return out, r, nil
}
