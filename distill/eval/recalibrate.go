package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// KindRecalibrate is the kind of the event by which Recalibrate goes into a model's
// history.
const KindRecalibrate = "recalibrate"

// recalibrateBatch is the number of images whose statistics are taken at a time.
const recalibrateBatch = 32

// Recalibrate returns the checkpoint with batch norms whose running statistics are
// those of the net as it is now, on up to so many images of a split after the
// checkpoint's own preprocessing: the mean over batches of 32 of their means and
// unbiased variances, of the net in training without dropout (PyTorch's momentum
// None). No weight changes. A cut or a factorization leaves statistics behind that
// are no longer true, and much of what it costs in accuracy with them.
func Recalibrate(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, s *data.Split, images int) (out *checkpoint.Checkpoint, err error) {
	n := c.Net.WithoutDropout()
	found := false
	for i := range n.Modules {
		if k, ok := n.Modules[i].Kind.(layers.BatchNorm2d); ok {
			k.Momentum = 1 // a run leaves the statistics of its batch
			n.Modules[i].Kind, found = k, true
		}
	}
	if !found {
		return nil, fmt.Errorf("%s has no batch norms whose statistics could be re-estimated", c.Net)
	}
	if b == nil || s == nil || s.Len() == 0 {
		return nil, errors.New("batch norms' statistics are re-estimated with training images, on a device; give --data")
	}
	m, err := n.Model()
	if err != nil {
		return nil, err
	}
	store := engine.NewStore(b)
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := m.Load(store, c.State); err != nil {
		return nil, err
	}
	r := &recalibration{store: store, model: m, sums: make(map[string][]float64)}
	taken, err := r.run(ctx, c, s, images)
	if err != nil {
		return nil, err
	}
	copied := *c
	copied.State = slices.Clone(c.State)
	for i := range copied.State {
		e := &copied.State[i]
		if sums := r.sums[e.Name]; sums != nil {
			e.Data, e.Codes = make([]float32, len(sums)), nil
			for k, v := range sums {
				e.Data[k] = float32(v / float64(r.batches))
			}
		}
	}
	copied.Metrics = nil
	copied.History = append(slices.Clone(c.History), checkpoint.Event{
		Kind: KindRecalibrate, Detail: fmt.Sprintf("statistics of %d images", taken),
	})
	return &copied, nil
}

// A recalibration adds up the statistics of batches.
type recalibration struct {
	store   *engine.Store
	model   *layers.Model
	sums    map[string][]float64
	batches int
}

func (r *recalibration) run(ctx context.Context, c *checkpoint.Checkpoint, s *data.Split, images int) (taken int, err error) {
	s = s.Subset(min(images, s.Len()))
	l, err := data.NewLoader(s, c.Net.Classes(), data.LoaderOptions{
		Batch: recalibrateBatch, Shuffle: true, Augment: c.Preprocess.Transform(), Eval: true, DropLast: s.Len() >= recalibrateBatch,
	})
	if err != nil {
		return 0, err
	}
	batches := l.Epoch(ctx, 0, 0)
	defer batches.Close()
	var prog *engine.Program
	var in *engine.Value
	defer func() {
		if prog != nil {
			err = errors.Join(err, prog.Close())
		}
	}()
	for {
		b, err := batches.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if prog == nil {
			g := engine.NewBuilder(engine.NewGraph())
			in = g.Input("images", engine.F32(b.N, b.H, b.W, b.C))
			logits := r.model.Forward(g, in, true)
			if err := g.Err(); err != nil {
				return 0, err
			}
			if prog, err = g.Graph().Compile(r.store.Backend(), engine.Options{Store: r.store, Outputs: []*engine.Value{logits}}); err != nil {
				return 0, err
			}
		}
		if err := prog.Run(ctx, engine.Bindings{in: engine.Bytes(b.Images)}); err != nil {
			return 0, err
		}
		if err := r.add(); err != nil {
			return 0, err
		}
		taken += b.N
	}
	if r.batches == 0 {
		return 0, errors.New("there are too few images to re-estimate batch norms' statistics with")
	}
	return taken, nil
}

// add takes the statistics that a run has left.
func (r *recalibration) add() error {
	r.batches++
	for _, slot := range r.model.Slots() {
		v := slot.Variable
		if !slot.Buffer || v.DType != engine.Float32 {
			continue
		}
		raw := make([]byte, v.Bytes())
		if err := r.store.Get(v, raw); err != nil {
			return err
		}
		e, err := slot.Entry(raw)
		if err != nil {
			return err
		}
		if r.sums[v.Name] == nil {
			r.sums[v.Name] = make([]float64, len(e.Data))
		}
		for k, x := range e.Data {
			r.sums[v.Name][k] += float64(x)
		}
	}
	return nil
}
