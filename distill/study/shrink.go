package study

import (
	"context"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/layers/checkpoint"
)

// shrink searches for a net under a budget, in the unit's folder, where a search that
// was stopped is resumed and the search's own report is written.
func (s *session) shrink(ctx context.Context, u *unit, o *outcome) error {
	m := *u.method.(*shrink.Method)
	m.Train, m.KD, m.Origin = u.train.Config, *u.train.KD, s.recipeOf(u)
	p := s.r.Data.preprocess()
	m.Train.Train, m.Train.Eval, m.Train.Workers = s.r.Data.place(m.Train.Train), p.Transform(), s.o.Workers
	m.Progress = func(stage string, done, _ int, text string) {
		s.advance(u, done, func() string { return stage + ", " + text })
	}
	var err error
	c := new(checkpoint.Checkpoint)
	if u.from != nil {
		if c, err = checkpoint.Load(u.from.file()); err != nil {
			return err
		}
	}
	c.Preprocess = p
	if m.Teachers, err = loadAll(u.teachers); err != nil {
		return err
	}
	if m.Beside, err = loadAll(u.beside); err != nil {
		return err
	}
	for _, b := range u.beside {
		m.Names = append(m.Names, b.name)
	}
	out, _, err := m.Apply(ctx, compress.Env{Backend: s.b, Data: s.ds, Dir: u.dir, Log: s.o.Logger}, c)
	if err != nil {
		return err
	}
	o.File, o.Bytes = shrink.ResultFile, out.Bytes
	return nil
}

// loadAll reads the models of units.
func loadAll(units []*unit) (all []*checkpoint.Checkpoint, err error) {
	for _, u := range units {
		c, err := checkpoint.Load(u.file())
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
