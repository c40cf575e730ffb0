// Package eval measures the model of a checkpoint on images, and predicts with it.
// Whoever evaluates a file does it here or in a trainer, both by train.Evaluator:
// a file measures the same everywhere.
package eval

import (
	"context"
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// evalBatch is the number of images that go through a net at a time, unless
// Options say otherwise.
const evalBatch = 32

// Options say how to evaluate. The zero value is usable.
type Options struct {
	// Batch is the number of images that go through the net at a time; 0 means 32.
	Batch int
	// Workers is the number of goroutines that prepare images; 0 leaves it to
	// the data package.
	Workers int
	// Precision is that of train.EvalOptions.
	Precision string
	// Classes are the data's class names; where given, the checkpoint must have
	// been made for the same.
	Classes []string
	// Each, if not nil, is called for every image with its index in the split
	// and its logits, which it must not keep.
	Each func(index int, logits []float32) error
}

// Evaluate measures a checkpoint's model on the images of s, after the
// checkpoint's own preprocessing.
func Evaluate(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, s *data.Split, o Options) (ev *train.Evaluation, err error) {
	if o.Classes != nil {
		if err := c.CheckClasses(o.Classes); err != nil {
			return nil, err
		}
	}
	err = withEvaluator(b, c, o, func(e *train.Evaluator) error {
		ev, err = e.Run(ctx, s, o.Each)
		return err
	})
	return ev, err
}

// Predict returns the logits of every image, after the checkpoint's own
// preprocessing: one slice an image, with a logit a class.
func Predict(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, images []data.Image) (logits [][]float32, err error) {
	return PredictIn(ctx, b, c, images, train.Float32)
}

// PredictIn is Predict with activations stored as precision has it: see
// train.EvalOptions.
func PredictIn(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, images []data.Image, precision string) (logits [][]float32, err error) {
	for i, m := range images {
		if m.H < 1 || m.W < 1 || len(m.Pix) < m.H*m.W*3 {
			return nil, fmt.Errorf("image %d: %d values for %dx%d pixels of 3 channels", i, len(m.Pix), m.H, m.W)
		}
		if err := c.Preprocess.Transform().CheckSize(m.H, m.W); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
	}
	err = withEvaluator(b, c, Options{Precision: precision}, func(e *train.Evaluator) error {
		t := c.Preprocess.Transform()
		var pixels []float32
		for len(images) > 0 {
			h, w := t.OutSize(images[0].H, images[0].W)
			n := alike(t, images, h, w)
			size := h * w * t.Channels()
			pixels = append(pixels[:0], make([]float32, n*size)...)
			for i, m := range images[:n] {
				t.Apply(pixels[i*size:(i+1)*size], m, nil)
			}
			out, err := e.Logits(ctx, pixels, n, h, w)
			if err != nil {
				return err
			}
			for k := c.Net.Classes(); len(out) > 0; out = out[k:] {
				logits = append(logits, out[:k:k])
			}
			images = images[n:]
		}
		return nil
	})
	return logits, err
}

// batchPixels bounds the pixels of a batch of Predict: pictures that are not
// cropped can be large.
const batchPixels = 16 << 20

// alike returns how many of the first images make one batch of h×w.
func alike(t data.Transform, images []data.Image, h, w int) int {
	n := 0
	for n < min(len(images), evalBatch, max(1, batchPixels/(h*w))) {
		if y, x := t.OutSize(images[n].H, images[n].W); y != h || x != w {
			break
		}
		n++
	}
	return n
}

// withEvaluator restores the model for the time of f.
func withEvaluator(b engine.Backend, c *checkpoint.Checkpoint, o Options, f func(e *train.Evaluator) error) (err error) {
	if o.Batch == 0 {
		o.Batch = evalBatch
	}
	if _, integers := c.Net.Quantized(); integers && o.Precision == train.BFloat16 {
		return fmt.Errorf("%s: it computes in integers, and has no activations in %s; leave the precision out", c.Path, o.Precision)
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	m, err := c.Infer(store)
	if err != nil {
		return err
	}
	if n := m.Net().Input.Channels; n != c.Preprocess.Transform().Channels() {
		return fmt.Errorf("%s: the model takes images of %d channels; only 3, and 1 of gray ones, can be evaluated", m.Net(), n)
	}
	e, err := train.NewEvaluator(m, store, c.Net.Classes(), train.EvalOptions{
		Batch: o.Batch, Workers: o.Workers, Transform: c.Preprocess.Transform(), Precision: o.Precision,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return f(e)
}
