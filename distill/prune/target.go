package prune

import (
	"context"
	"fmt"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers/checkpoint"
)

// measureDense finds out what the net costs before the cut.
func (k *cutter) measureDense() error {
	in := k.c.Net.Input
	switch {
	case in.Height > 0:
		k.h, k.w = in.Height, in.Width
	case k.o.Size > 0:
		k.h, k.w = k.o.Size, k.o.Size
	case k.c.Preprocess.Size > 0:
		k.h, k.w = k.c.Preprocess.Transform().OutSize(0, 0)
	default:
		const usual = 224
		k.h, k.w = usual, usual
		k.notes = append(k.notes, fmt.Sprintf("the model does not say how large its images are; multiply-adds are told for %dx%d", usual, usual))
	}
	m, err := k.c.Net.Model()
	if err != nil {
		return err
	}
	if k.before, err = m.Summary(k.h, k.w); err != nil {
		return err
	}
	k.dense = Cost{Params: k.before.Params, MACs: k.before.MACs, Bytes: k.c.Bytes}
	if k.dense.Bytes == 0 || k.c.Scheme() != "" {
		full := *k.c
		full.Extra, full.Progress = nil, nil
		full.State = slices.Clone(k.c.State)
		for i := range full.State {
			full.State[i].Codes = nil
		}
		if k.dense.Bytes, err = checkpoint.Size(&full); err != nil {
			return err
		}
	}
	return nil
}

// CostOf returns what a checkpoint's net costs before a cut by the options: with a
// target of time, as it is measured.
func CostOf(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (Cost, error) {
	k := &cutter{env: env, c: c, o: o.withDefaults()}
	err := k.measureDense()
	if err == nil && o.MS != 0 {
		err = k.measureTime(ctx)
	}
	if err != nil {
		return Cost{}, compress.Failed("prune", c, err)
	}
	return k.dense, nil
}

// solve finds the ratio, and with it the units that stay of each candidate.
func (k *cutter) solve(ctx context.Context) (float64, []int, error) {
	sizes := k.rank.sizes
	if k.rank.compat {
		sizes = k.rank.compatSizes
	}
	t := k.o.target()
	if t == "" {
		return k.o.Ratio, sizes(k.o.Ratio), nil
	}
	if t == "ms" {
		return k.solveTime(ctx)
	}
	want := k.o.targets()[slices.IndexFunc(k.o.targets(), func(x target) bool { return x.name == t })].value
	dense, err := k.cost(t, 0, sizes(0))
	if err != nil {
		return 0, nil, err
	}
	whole, err := k.cost(t, 0, k.rank.all()) // of which ratios of layers' own may have taken something
	if err != nil {
		return 0, nil, err
	}
	if want < 1 {
		want *= whole
	}
	if dense <= want && (dense < whole || k.o.Whole != nil) {
		return 0, sizes(0), nil
	}
	if dense <= want {
		return 0, nil, fmt.Errorf("a target of %.10g %s is met by the net as it is, which has %.10g; ask for less", want, t, dense)
	}
	// The cost falls as the ratio grows. Ratios are told apart by 2⁻¹⁶.
	const steps = 1 << 16
	lo, hi := 0, steps // of hi the cost is met
	var best []int
	seen := make(map[string]float64)
	at := func(i int) (float64, []int, error) {
		size := sizes(float64(i) / steps)
		key := fmt.Sprint(size)
		if cost, ok := seen[key]; ok {
			return cost, size, nil
		}
		cost, err := k.cost(t, float64(i)/steps, size)
		seen[key] = cost
		return cost, size, err
	}
	least, size, err := at(steps - 1)
	if err != nil {
		return 0, nil, err
	}
	if least > want {
		return 0, nil, fmt.Errorf("a target of %.10g %s cannot be met: the nearest that can is %.10g, with nearly nothing left", want, t, least)
	}
	hi, best = steps-1, size
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		cost, size, err := at(mid)
		if err != nil {
			return 0, nil, err
		}
		if cost <= want {
			hi, best = mid, size
		} else {
			lo = mid
		}
	}
	return float64(hi) / steps, best, nil
}

// cost returns what the net would cost with so many units of each candidate.
func (k *cutter) cost(what string, ratio float64, size []int) (float64, error) {
	if what == "bytes" {
		c, err := k.made(ratio, size)
		if err != nil {
			return 0, err
		}
		n, err := checkpoint.Size(c)
		return float64(n), err
	}
	units := make(map[string]int)
	for i, c := range k.rank.candidates {
		units[c.Name] = size[i]
	}
	n, err := k.c.Net.Resized(units)
	if err != nil {
		return 0, err
	}
	m, err := n.Model()
	if err != nil {
		return 0, err
	}
	if what == "params" {
		return float64(m.Params()), nil
	}
	s, err := m.Summary(k.h, k.w)
	return float64(s.MACs), err
}
