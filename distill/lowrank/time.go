package lowrank

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// time measures every split of a plan beside its layer, and refuses those that are
// not faster. It returns how many.
func (f *factorizer) time(ctx context.Context, plan map[string]split) (slower int, err error) {
	if f.o.Untimed {
		return 0, nil
	}
	if f.env.Backend == nil {
		return 0, errors.New("splits are timed, for one that is not faster is refused, and there is no device; untimed keeps them all")
	}
	for _, l := range f.all {
		s, ok := plan[l.name]
		if !ok {
			continue
		}
		t, err := f.pair(ctx, l, s)
		if err != nil {
			return 0, fmt.Errorf("timing %s: %w", l.name, err)
		}
		f.times[l.name] = t
		if t[1] >= t[0] {
			f.why[l.name] = fmt.Sprintf("%s of %d is not faster: %.3g ms, the layer %.3g", s.form, s.r, t[1], t[0])
			slower++
		}
	}
	return slower, nil
}

// rounds is how often a layer and its chain are timed in turns.
const rounds = 15

// pair returns the milliseconds of a layer and of its chain: the medians of runs in
// turns, each of as many calls as take about a millisecond.
func (f *factorizer) pair(ctx context.Context, l *layer, s split) ([2]float64, error) {
	chain, err := l.chain(s)
	if err != nil {
		return [2]float64{}, err
	}
	whole := []layers.Step{{Kind: l.conv, Tensors: l.withBias(l.weight)}}
	if l.linear {
		whole[0].Kind = layers.Linear{InFeatures: l.conv.InChannels, OutFeatures: l.conv.OutChannels, Bias: l.conv.Bias}
	}
	var runs [2]func() error
	for i, steps := range [][]layers.Step{whole, chain} {
		run, done, err := f.program(ctx, l, steps)
		if err != nil {
			return [2]float64{}, err
		}
		defer done()
		runs[i] = run
	}
	var took [2][]float64
	calls := 1
	for round := -2; round < rounds; round++ {
		for i, run := range runs {
			begin := time.Now()
			for range calls {
				if err := run(); err != nil {
					return [2]float64{}, err
				}
			}
			ms := time.Since(begin).Seconds() * 1000 / float64(calls)
			if round >= 0 {
				took[i] = append(took[i], ms)
			}
		}
		if round == -1 {
			begin := time.Now()
			if err := runs[1](); err != nil {
				return [2]float64{}, err
			}
			calls = int(min(max(time.Millisecond/max(time.Since(begin), 1), 1), 1000))
		}
	}
	var medians [2]float64
	for i := range took {
		slices.Sort(took[i])
		medians[i] = took[i][rounds/2]
	}
	return medians, nil
}

// program compiles modules that read one value of the layer's input.
func (f *factorizer) program(ctx context.Context, l *layer, steps []layers.Step) (run func() error, done func(), err error) {
	n := &layers.Net{Version: layers.NetVersion, Input: layers.Input{Channels: l.conv.InChannels, Height: l.hi, Width: l.wi}, Output: layers.Image}
	add := func(k layers.Kind) {
		m := layers.Module{Name: fmt.Sprintf("m%d", len(n.Modules)), In: []string{n.Output}, Kind: k}
		n.Modules, n.Output = append(n.Modules, m), m.Name
	}
	if l.linear {
		add(layers.Flatten{})
	}
	for _, s := range steps {
		add(s.Kind)
	}
	var state layers.StateDict
	model, err := n.Function()
	if err != nil {
		return nil, nil, err
	}
	for _, slot := range model.Slots() {
		state = append(state, layers.Entry{Name: slot.Variable.Name, Shape: slot.Shape(), Data: make([]float32, slot.Variable.Len())})
	}
	store := engine.NewStore(f.env.Backend)
	if err := model.Load(store, state); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(max(f.o.Batch, 1), l.hi, l.wi, l.conv.InChannels))
	y := model.Build(b, x, false).Logits
	if err := b.Err(); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	p, err := b.Graph().Compile(f.env.Backend, engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	images := engine.Bytes(make([]float32, x.Len()))
	run = func() error { return p.Run(ctx, engine.Bindings{x: images}) }
	return run, func() { _ = errors.Join(p.Close(), store.Close()) }, nil
}
