package train

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A source is where the training images of a run come from: a loader that makes
// batches of them or, where they stay on the device, draws what that is to do.
type source struct {
	images   *data.Split
	loader   *data.Loader
	resident *resident // nil: the loader makes the images
	views    []data.Transform
	batch    int
	dropLast bool
}

// newSource opens the training images of a run.
func newSource(s *data.Split, classes int, c Config, store *engine.Store, log *slog.Logger) (*source, error) {
	src := &source{images: s, views: c.Objective.Views(), batch: c.Batch, dropLast: c.DropLast, resident: place(s, c, store, log)}
	weights := c.ClassWeights
	if c.BalancedWeights {
		weights = s.BalancedWeights(classes)
	}
	var err error
	src.loader, err = data.NewLoader(s, classes, data.LoaderOptions{
		Batch: c.Batch, Shuffle: c.Shuffle, Augment: c.Train, Views: src.views, Seed: c.Seed, Workers: c.Workers,
		MixupAlpha: c.MixupAlpha, CutMix: c.CutMixAlpha, ClassWeights: weights, Balanced: c.BalancedSampling, DropLast: c.DropLast, OnDevice: src.resident != nil,
		Part: c.rank(), Parts: c.ranks(),
	})
	return src, err
}

// epoch begins an epoch at one of its batches.
func (s *source) epoch(ctx context.Context, epoch, batch int) *data.Epoch {
	return s.loader.Epoch(ctx, epoch, batch)
}

// batches returns how many an epoch has.
func (s *source) batches() int { return s.loader.Steps() }

// imagesIn returns the images in k batches from batch at on.
func (s *source) imagesIn(at, k int) int {
	n := k * s.batch
	if at+k == s.batches() && !s.dropLast {
		n = s.images.Len() - at*s.batch
	}
	return n
}

// key is that of a program for batches of n images.
func (s *source) key(n int, weight float32) stepKey {
	h, w, c := s.loader.Shape()
	return stepKey{n, h, w, c, weight, 1}
}

// write writes down where a step's images come from: the images of the net, and
// then the other views.
func (s *source) write(b *engine.Builder, p *program, k stepKey) []*engine.Value {
	if r := s.resident; r != nil {
		defer b.Scope("augment")()
		index := b.Shared(indexInput, indexSpec(k.n))
		p.params = b.Input("params", paramsSpec(k.n))
		return []*engine.Value{b.One(r.op, b.Variable(r.images), index, p.params, b.Variable(r.table))}
	}
	p.images = b.Input("images", engine.F32(k.n, k.h, k.w, k.c))
	for i := range s.views {
		h, w, c := s.loader.ViewShape(i)
		p.views = append(p.views, b.Input(fmt.Sprintf("images.%d", i+1), engine.F32(k.n, h, w, c)))
	}
	return append([]*engine.Value{p.images}, p.views...)
}

// close frees what the images take of the device.
func (s *source) close(store *engine.Store) error {
	r := s.resident
	s.resident = nil
	return r.evict(store)
}
