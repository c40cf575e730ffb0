package onnx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

var errNoImages = errors.New("calibration: there are no images")

// Calibration runs calibrationBatch images at a time, or fewer where their
// activations, all of which are kept, would be more than calibrationValues floats.
const (
	calibrationBatch  = 16
	calibrationValues = 1 << 28
)

// Calibrate runs the model of c in float32 on images and returns the least and
// the largest value of every activation: what a QDQ export with the same
// options needs. A few hundred images of the training data do.
//
// Each element of images is any number of images after the checkpoint's
// preprocessing, NHWC, of Options.Size (or the checkpoint's size). Images makes
// them of a data set.
func Calibrate(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, o Options, images iter.Seq2[[]float32, error]) (r Ranges, err error) {
	m, err := c.Net.Model()
	if err != nil {
		return nil, err
	}
	if err := check(c, m); err != nil {
		return nil, err
	}
	size, err := imageSize(c.Preprocess, o)
	if err != nil {
		return nil, err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := m.Load(store, c.State); err != nil {
		return nil, err
	}
	cal, err := newCalibrator(m, store, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cal.prog.Close()) }()
	for batch, err := range images {
		if err != nil {
			return nil, err
		}
		if err := cal.add(ctx, batch); err != nil {
			return nil, err
		}
	}
	return cal.ranges(ctx)
}

// A calibrator holds the program that computes all activations.
type calibrator struct {
	*net
	prog  *engine.Program
	found map[*engine.Value]*Range
	wait  []float32 // images that do not yet fill a batch
	host  []float32
}

func newCalibrator(m *layers.Model, store *engine.Store, size int) (*calibrator, error) {
	n, err := newNet(m, 1, size)
	if err != nil {
		return nil, err
	}
	values := n.input.Len()
	for _, node := range n.graph.Nodes() {
		values += node.Out[0].Len()
	}
	if values > calibrationValues {
		return nil, fmt.Errorf("calibration on images of %dx%d pixels: they have %d activations, at most %d are kept; choose a smaller size", size, size, values, calibrationValues)
	}
	if n, err = newNet(m, min(calibrationBatch, calibrationValues/values), size); err != nil {
		return nil, err
	}
	c := &calibrator{net: n, found: make(map[*engine.Value]*Range)}
	var outputs []*engine.Value
	for _, node := range n.graph.Nodes() {
		v := node.Out[0]
		if !n.inner(v) {
			outputs = append(outputs, v)
			c.found[v] = &Range{float32(math.Inf(1)), float32(math.Inf(-1))}
			c.host = append(c.host, make([]float32, max(0, v.Len()-len(c.host)))...)
		}
	}
	c.prog, err = n.graph.Compile(store.Backend(), engine.Options{Store: store, Outputs: outputs})
	return c, err
}

// add runs images as soon as they fill a batch.
func (c *calibrator) add(ctx context.Context, images []float32) error {
	each := c.input.Len() / c.input.Shape[0]
	if len(images)%each != 0 {
		return fmt.Errorf("calibration: %d values are not whole images of %v", len(images), c.input.Shape[1:])
	}
	c.wait = append(c.wait, images...)
	for full := c.input.Len(); len(c.wait) >= full; c.wait = c.wait[full:] {
		if err := c.run(ctx, c.wait[:full]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// run takes a batch into account.
func (c *calibrator) run(ctx context.Context, batch []float32) error {
	if err := c.prog.Run(ctx, engine.Bindings{c.input: engine.Bytes(batch)}); err != nil {
		return err
	}
	for v, r := range c.found {
		values := c.host[:v.Len()]
		if err := c.prog.Read(v, engine.Bytes(values)); err != nil {
			return err
		}
		for _, x := range values {
			if !finite(x) {
				return fmt.Errorf("calibration: %s is %g on an image; the model's weights are broken", c.names[v], x)
			}
			r.Min, r.Max = min(r.Min, x), max(r.Max, x)
		}
	}
	return nil
}

// ranges runs what is left, the last image repeated, and returns the ranges.
func (c *calibrator) ranges(ctx context.Context) (Ranges, error) {
	each := c.input.Len() / c.input.Shape[0]
	if len(c.wait) > 0 {
		last := c.wait[len(c.wait)-each:]
		for len(c.wait) < c.input.Len() {
			c.wait = append(c.wait, last...)
		}
		if err := c.run(ctx, c.wait); err != nil {
			return nil, err
		}
	}
	all := make(Ranges)
	for v, r := range c.found {
		if r.Min > r.Max {
			return nil, errNoImages
		}
		all[c.names[v]] = *r
	}
	return all, nil
}

// Images returns limit images of s, its classes balanced (all of them, if there
// are fewer), after the transform without its random stages, as Calibrate takes
// them.
func Images(ctx context.Context, s *data.Split, t data.Transform, limit int) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		if s == nil || s.Len() == 0 || limit < 1 {
			yield(nil, errNoImages)
			return
		}
		s, classes := s.Subset(limit), 1
		for i := range s.Len() {
			classes = max(classes, s.Label(i)+1)
		}
		l, err := data.NewLoader(s, classes, data.LoaderOptions{Batch: min(calibrationBatch, s.Len()), Augment: t, Eval: true})
		if err != nil {
			yield(nil, err)
			return
		}
		batches := l.Epoch(ctx, 0, 0)
		defer batches.Close()
		for {
			b, err := batches.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(b.Images[:b.N*b.H*b.W*b.C], nil) {
				return
			}
		}
	}
}
