package eval

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// KindInsertBatchNorm is the kind of the event by which InsertBatchNorm goes into
// a model's history.
const KindInsertBatchNorm = "insert-batchnorm"

// momentsBatch is the number of images that go through the net at a time.
const momentsBatch = 16

// InsertBatchNorm returns the checkpoint with a batch norm behind every
// convolution that none follows, as exporters fold them away: what the net
// computes in evaluation stays the same, and training begins from there, with the
// steadiness that batch norms give (see layers.InsertBatchNorm for the algebra).
// Their statistics are those of the convolutions' outputs on the images, which
// are any number at a time after the checkpoint's preprocessing, NHWC of
// size×size pixels.
//
// Left as they are: the layer that makes the logits, and convolutions of single
// pixels, as squeeze and excitation has them.
func InsertBatchNorm(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, size int, images iter.Seq2[[]float32, error]) (out *checkpoint.Checkpoint, inserted int, err error) {
	m, err := c.Net.Model()
	if err != nil {
		return nil, 0, err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := m.Load(store, c.State); err != nil {
		return nil, 0, err
	}
	p, err := newMeasured(m, store, size)
	if err != nil {
		return nil, 0, err
	}
	if len(p.of) == 0 {
		return nil, 0, fmt.Errorf("%s: a batch norm follows every convolution already", c.Net)
	}
	defer func() { err = errors.Join(err, p.prog.Close()) }()
	for batch, err := range images {
		if err != nil {
			return nil, 0, err
		}
		if err := p.add(ctx, batch); err != nil {
			return nil, 0, err
		}
	}
	moments, err := p.moments()
	if err != nil {
		return nil, 0, err
	}
	copied := *c
	if copied.Net, copied.State, err = layers.InsertBatchNorm(moments)(c.Net, c.State); err != nil {
		return nil, 0, err
	}
	copied.History = append(slices.Clone(c.History), checkpoint.Event{
		Kind: KindInsertBatchNorm, Detail: fmt.Sprintf("%d batch norms, with the statistics of %d images", len(moments), p.images),
	})
	return &copied, len(moments), nil
}

// A measured net is one of whose convolutions' outputs moments are taken.
type measured struct {
	prog   *engine.Program
	input  *engine.Value
	of     []moment
	host   []float32
	wait   []float32 // images that do not yet fill a batch
	images int
}

// A moment is the mean and the sum of squared distances from it of each channel of
// a value, over n numbers so far.
type moment struct {
	name     string
	value    *engine.Value
	n        float64
	mean, m2 []float64
}

func newMeasured(m *layers.Model, store *engine.Store, size int) (*measured, error) {
	b := engine.NewBuilder(engine.NewGraph())
	p := &measured{input: b.Input("images", engine.F32(momentsBatch, size, size, m.Net().Input.Channels))}
	outs := m.Build(b, p.input, false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	var values []*engine.Value
	for _, name := range bare(m.Net()) {
		v := outs.At(name)
		if _, h, w, c, ok := v.NHWC(); ok && h*w > 1 {
			p.of = append(p.of, moment{name: name, value: v, mean: make([]float64, c), m2: make([]float64, c)})
			values = append(values, v)
			p.host = append(p.host, make([]float32, max(0, v.Len()-len(p.host)))...)
		}
	}
	if len(values) == 0 {
		return p, nil
	}
	var err error
	p.prog, err = b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: values})
	return p, err
}

// bare returns the convolutions that no batch norm follows, but for the head.
func bare(n *layers.Net) []string {
	normed := make(map[string]bool)
	for i := range n.Modules {
		if _, ok := n.Modules[i].Kind.(layers.BatchNorm2d); ok {
			normed[n.Modules[i].In[0]] = true
		}
	}
	var out []string
	for i := range n.Modules {
		m := &n.Modules[i]
		if _, ok := m.Kind.(layers.Conv2d); ok && !normed[m.Name] && m.Name != n.Head().Name {
			out = append(out, m.Name)
		}
	}
	return out
}

// add runs images as soon as they fill a batch.
func (p *measured) add(ctx context.Context, images []float32) error {
	each := p.input.Len() / momentsBatch
	if len(images)%each != 0 {
		return fmt.Errorf("%d values are not whole images of %v", len(images), p.input.Shape[1:])
	}
	p.wait = append(p.wait, images...)
	for full := p.input.Len(); len(p.wait) >= full; p.wait = p.wait[full:] {
		if err := p.prog.Run(ctx, engine.Bindings{p.input: engine.Bytes(p.wait[:full])}); err != nil {
			return err
		}
		p.images += momentsBatch
		for i := range p.of {
			values := p.host[:p.of[i].value.Len()]
			if err := p.prog.Read(p.of[i].value, engine.Bytes(values)); err != nil {
				return err
			}
			p.of[i].add(values)
		}
	}
	return ctx.Err()
}

// add takes values [pixels,C] into account: the moments of two parts are joined as
// Chan, Golub and LeVeque have it ("Updating formulae and a pairwise algorithm for
// computing sample variances", 1979).
func (m *moment) add(values []float32) {
	c := len(m.mean)
	n := float64(len(values) / c)
	mean, m2 := make([]float64, c), make([]float64, c)
	for i, v := range values {
		mean[i%c] += float64(v) / n
	}
	for i, v := range values {
		d := float64(v) - mean[i%c]
		m2[i%c] += d * d
	}
	all := m.n + n
	for k := range mean {
		d := mean[k] - m.mean[k]
		m.mean[k] += d * n / all
		m.m2[k] += m2[k] + d*d*m.n*n/all
	}
	m.n = all
}

// moments returns what was measured. Images that do not fill a batch are left out.
func (p *measured) moments() (map[string]layers.Moments, error) {
	if p.images == 0 {
		return nil, fmt.Errorf("batch norms need the statistics of at least %d images", momentsBatch)
	}
	out := make(map[string]layers.Moments)
	for _, m := range p.of {
		x := layers.Moments{Mean: make([]float32, len(m.mean)), Var: make([]float32, len(m.mean))}
		for k := range m.mean {
			x.Mean[k], x.Var[k] = float32(m.mean[k]), float32(m.m2[k]/m.n)
		}
		out[m.name] = x
	}
	return out, nil
}
