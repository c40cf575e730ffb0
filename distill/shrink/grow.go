package shrink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// growth is how many times the budget a net costs that is grown to be shrunk: what is
// learned by more channels and kept by fewer is more than fewer learn from nothing.
const growth = 2

// Grow makes a start net for a search from nothing: of a family the widest net, by
// uniform scaling, within twice the budget, with weights of the most bits that
// o.Bits has, trained under the teachers, if there are any, with the epochs given and
// else as o.Train says. It lies in the folder "start" of env.Dir, and what an earlier
// process has done there is not done again.
func Grow(ctx context.Context, env compress.Env, family string, p checkpoint.Preprocess, teachers []*checkpoint.Checkpoint, epochs int, o Options) (*checkpoint.Checkpoint, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if env.Backend == nil || env.Train() == nil || env.Data.Val == nil || env.Dir == "" {
		return nil, errors.New("shrink: a net is grown on a device, with training and validation images, in a folder")
	}
	dir := filepath.Join(env.Dir, "start")
	path := filepath.Join(dir, fit.BestFile)
	j := fit.Job{Data: env.Data, Preprocess: p, Config: o.Train, Dir: dir, Logger: env.Log}
	j.Config.Epochs = epochs
	if len(teachers) > 0 {
		j.Teacher, j.Others, j.KD = teachers[0], teachers[1:], o.KD
	}
	if _, err := os.Stat(filepath.Join(dir, fit.LastFile)); err == nil {
		j.Resume = true
	}
	var err error
	if j.Net, err = widest(ctx, env, family, p, o); err != nil {
		return nil, err
	}
	j.Step = o.steps("start net", env.Data.Train.Len(), j.Config)
	if _, err := fit.Run(ctx, env.Backend, j); err != nil {
		return nil, interrupted(ctx, err, env.Dir, "")
	}
	return checkpoint.Load(path)
}

// widest returns the family's net for a start.
func widest(ctx context.Context, env compress.Env, family string, p checkpoint.Preprocess, o Options) (*layers.Net, error) {
	times, err := budget.OpenTable(filepath.Join(env.Dir, timesFile))
	if err != nil {
		return nil, err
	}
	a := layers.Arch{Family: family, Classes: len(env.Data.Classes)}
	if p.Gray {
		a.InChannels = 1
	}
	m := &budget.Meter{Backend: env.Backend, Limits: share(o.Under, growth), Times: times, Log: env.Log}
	base, cost, err := m.Widest(ctx, a, func(a layers.Arch) (*checkpoint.Checkpoint, error) {
		c, err := untrained(env.Backend, a, p)
		if err != nil {
			return nil, err
		}
		return withMost(c, o.Bits, nil).written()
	})
	if err != nil {
		return nil, fmt.Errorf("shrink: no start net: %w", err)
	}
	if err := times.Save(); err != nil {
		return nil, err
	}
	if env.Log != nil {
		env.Log.Info("shrink: start net", "family", family, "base", base, "cost", told(o.Under, cost))
	}
	a.Base = base
	return layers.Open(a)
}

// untrained returns a net as training begins with it.
func untrained(b engine.Backend, a layers.Arch, p checkpoint.Preprocess) (c *checkpoint.Checkpoint, err error) {
	n, err := layers.Open(a)
	if err != nil {
		return nil, err
	}
	m, err := n.Model()
	if err != nil {
		return nil, err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := m.Init(store, 1); err != nil {
		return nil, err
	}
	c = &checkpoint.Checkpoint{Net: n, Preprocess: p}
	c.State, err = m.State(store)
	return c, err
}
