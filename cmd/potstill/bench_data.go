package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A feed is the input pipeline under measurement: batches of a dataset, epoch
// after epoch, with the study's augmentation.
type feed struct {
	loader *data.Loader
	ds     *data.Dataset
	epoch  *data.Epoch
	epochs int
}

// feed opens the images that --data names.
func (c *benchTrainCmd) feed(a *app) (*feed, error) {
	ds, err := (dataFlags{Data: c.Data, cacheFlags: cacheFlags{Cache: c.Cache}}).open(a)
	if err != nil {
		return nil, err
	}
	if n := ds.Train.Len(); n < c.Batch {
		return nil, errors.Join(fmt.Errorf("%s: a batch of %d is larger than the data (%d images): give --batch %d or fewer", c.Data, c.Batch, n, n), ds.Close())
	}
	l, err := data.NewLoader(ds.Train, len(ds.Classes), data.LoaderOptions{
		Batch: c.Batch, Shuffle: true, DropLast: true, Augment: data.TrainTransform(c.Size), Workers: c.Threads})
	if err != nil {
		return nil, errors.Join(err, ds.Close())
	}
	return &feed{loader: l, ds: ds}, nil
}

// next returns the next batch, of the next epoch behind the last of this one.
func (f *feed) next(ctx context.Context) (*data.Batch, error) {
	if f.epoch != nil {
		b, err := f.epoch.Next()
		if err != io.EOF {
			return b, err
		}
		f.epoch.Close()
		f.epochs++
	}
	f.epoch = f.loader.Epoch(ctx, f.epochs, 0)
	return f.epoch.Next()
}

func (f *feed) close() error {
	if f.epoch != nil {
		f.epoch.Close()
	}
	return f.ds.Close()
}

// alone measures the pipeline with nobody computing.
func (f *feed) alone(a *app, c *benchTrainCmd) (trainRow, error) {
	t, err := measureMean(a.ctx, c.Time, func() error {
		_, err := f.next(a.ctx)
		return err
	})
	r := trainRow{Mode: modeLoad}
	r.timed(t, c.Batch, nil)
	return r, err
}

// under measures training steps that the pipeline feeds while they compute.
func (f *feed) under(a *app, c *benchTrainCmd, b engine.Backend, arch string) (r trainRow, err error) {
	net, err := c.net(arch)
	if err != nil {
		return r, err
	}
	p, err := programSpec{net: net, batch: c.Batch, height: c.Size, width: c.Size, train: true, bfloat16: c.bfloat16()}.compile(b)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	t, err := measureMean(a.ctx, c.Time, func() error {
		batch, err := f.next(a.ctx)
		if err != nil {
			return err
		}
		p.in[p.images] = engine.Bytes(batch.Images)
		return p.run(a.ctx)
	})
	if err != nil {
		return r, err
	}
	r = trainRow{Arch: arch, Mode: modeFed}
	r.timed(t, c.Batch, p.Plan())
	return r, nil
}

// pipeline appends the rows that need images.
func (c *benchTrainCmd) pipeline(a *app, b engine.Backend, r *trainBench) (err error) {
	f, err := c.feed(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	a.console.begin("measuring the input pipeline", 0)
	defer a.console.end()
	row, err := f.alone(a, c)
	if err != nil {
		return fmt.Errorf("reading %s: %w", c.Data, err)
	}
	r.Rows = append(r.Rows, row)
	for _, arch := range c.Arch {
		if row, err = f.under(a, c, b, arch); err != nil {
			return err
		}
		r.Rows = append(r.Rows, row)
	}
	return nil
}
