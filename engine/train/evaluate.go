package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// EvalOptions say how to evaluate.
type EvalOptions struct {
	// Batch is the number of images that go through the net at a time.
	Batch int
	// Transform is what they go through. Its random stages are left out.
	Transform data.Transform
	// Workers is the number of goroutines that prepare images; 0 leaves it to
	// the data package.
	Workers int
	// Precision is how activations are stored: Float32 (or ""), or BFloat16, which
	// the backend must have (engine.MixedPrecision).
	Precision string
}

// An Evaluation is how a net does on a set of images.
type Evaluation struct {
	Top1            float64   `json:"top1"` // share classified right, in [0, 1]
	Loss            float64   `json:"loss"` // mean cross-entropy, in nats
	N               int       `json:"n"`
	Confusion       Confusion `json:"confusion"`
	ImagesPerSecond float64   `json:"images_per_second"` // decoding and transforms included
}

// An Evaluator runs a net with BatchNorm's running statistics and without
// dropout. It compiles a program once for each shape of batch, and reads the
// store's variables as they are at each run. It is not safe for concurrent use.
type Evaluator struct {
	net     Net
	store   *engine.Store
	classes int
	o       EvalOptions
	progs   map[stepKey]*inference
	loaders map[*data.Split]*data.Loader
	fit     func(free int) int // of the trainer whose evaluator it is; or nil

	part, parts int // of several ranks, the number of this one, and how many there are
}

// NewEvaluator returns an evaluator of the net, whose variables' values lie in
// store.
func NewEvaluator(net Net, store *engine.Store, classes int, o EvalOptions) (*Evaluator, error) {
	if o.Batch < 1 {
		return nil, fmt.Errorf("evaluation: batch must be at least 1, not %d", o.Batch)
	}
	if err := checkPrecision(o.Precision, store.Backend()); err != nil {
		return nil, fmt.Errorf("evaluation: %w", err)
	}
	if classes < 1 {
		return nil, fmt.Errorf("evaluation: there must be classes, not %d", classes)
	}
	if err := o.Transform.Validate(); err != nil {
		return nil, fmt.Errorf("evaluation transform: %w", err)
	}
	return &Evaluator{net: net, store: store, classes: classes, o: o,
		progs: make(map[stepKey]*inference), loaders: make(map[*data.Split]*data.Loader)}, nil
}

// Run evaluates a split. Each, if not nil, is called for every image with its
// index in the split and its logits, which it must not keep.
func (e *Evaluator) Run(ctx context.Context, s *data.Split, each func(index int, logits []float32) error) (*Evaluation, error) {
	if s == nil || s.Len() == 0 {
		return nil, errors.New("evaluation: there are no images")
	}
	begin := time.Now()
	t := &tally{e: e, s: s, each: each, ev: &Evaluation{Confusion: NewConfusion(e.classes)}}
	if err := e.pass(ctx, t); err != nil {
		return nil, err
	}
	return t.finish(begin)
}

// pass runs the images that are this evaluator's, and adds them to t.
func (e *Evaluator) pass(ctx context.Context, t *tally) error {
	l, err := e.loader(t.s)
	if err != nil {
		return err
	}
	if err := e.checkHost(t.s, l); err != nil {
		return err
	}
	batches := l.Epoch(ctx, 0, 0)
	defer batches.Close()
	defer t.leave()
	for {
		b, err := batches.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		q, err := e.launch(ctx, b.Images, b.N, min(e.o.Batch, t.s.Len()), b.H, b.W, b.C)
		if err != nil {
			return err
		}
		q.b = b
		if err := t.push(q); err != nil {
			return err
		}
	}
	return t.flush()
}

// finish returns what all images of the split have come to.
func (t *tally) finish(begin time.Time) (*Evaluation, error) {
	ev := t.ev
	if ev.N != t.s.Len() {
		return nil, fmt.Errorf("evaluation: %d of %d images arrived", ev.N, t.s.Len())
	}
	ev.Loss, ev.Top1 = t.sum/float64(ev.N), ev.Confusion.Accuracy()
	ev.ImagesPerSecond = rate(ev.N, time.Since(begin).Seconds())
	return ev, nil
}

// A tally adds up what an evaluation's batches come to.
type tally struct {
	e    *Evaluator
	s    *data.Split
	each func(index int, logits []float32) error
	ev   *Evaluation
	sum  float64 // of the losses
	// seen, if not nil, gets an image's loss and class, and nothing of it is added.
	seen func(index int, loss float64, class int)

	under pass // the last launch, if it has not been added
}

// push adds the launch before q, and q too where it is over already.
func (t *tally) push(q pass) error {
	last := t.under
	t.under = q
	if last.p != nil {
		if err := t.add(last); err != nil {
			return err
		}
	}
	if q.p.prog.Overlaps() {
		return nil
	}
	return t.flush()
}

// flush adds the last launch.
func (t *tally) flush() error {
	q := t.under
	t.under = pass{}
	if q.p == nil {
		return nil
	}
	return t.add(q)
}

// leave waits for the last launch, whatever comes of it.
func (t *tally) leave() {
	if t.under.p != nil {
		_ = t.under.f.Wait()
	}
}

// add waits for a batch and adds it.
func (t *tally) add(q pass) error {
	e, b := t.e, q.b
	logits, err := e.land(q)
	if err != nil {
		return err
	}
	for i := range b.N {
		row, label := logits[i*e.classes:(i+1)*e.classes], int(b.Labels[i])
		if label < 0 || label >= e.classes {
			return fmt.Errorf("evaluation: %s has label %d, the net %d classes", t.s.File(b.Index[i]), label, e.classes)
		}
		if t.seen != nil {
			t.seen(b.Index[i], nll(row, label), argmax(row))
		} else {
			t.sum += nll(row, label)
			t.ev.Confusion[label][argmax(row)]++
		}
		if t.each != nil {
			if err := t.each(b.Index[i], row); err != nil {
				return err
			}
		}
	}
	t.ev.N += b.N
	return nil
}

// Logits runs n images, NHWC with the transform's channels, transformed already, and
// returns their logits [n, classes] in memory of its own.
func (e *Evaluator) Logits(ctx context.Context, images []float32, n, h, w int) ([]float32, error) {
	c := e.o.Transform.Channels()
	if n < 1 || h < 1 || w < 1 || len(images) != n*h*w*c {
		return nil, fmt.Errorf("%d values for %d images of %dx%dx%d: %w", len(images), n, h, w, c, engine.ErrShape)
	}
	out := make([]float32, 0, n*e.classes)
	for batch := min(e.o.Batch, n); n > 0; {
		k := min(batch, n)
		q, err := e.launch(ctx, images[:k*h*w*c], k, batch, h, w, c)
		if err != nil {
			return nil, err
		}
		logits, err := e.land(q)
		if err != nil {
			return nil, err
		}
		out = append(out, logits[:k*e.classes]...)
		images, n = images[k*h*w*c:], n-k
	}
	return out, nil
}

// Close frees the programs. It may be called twice.
func (e *Evaluator) Close() error {
	var errs []error
	for k, p := range e.progs {
		errs = append(errs, p.prog.Close())
		delete(e.progs, k)
	}
	return errors.Join(errs...)
}

func (e *Evaluator) loader(s *data.Split) (*data.Loader, error) {
	if l, ok := e.loaders[s]; ok {
		return l, nil
	}
	l, err := data.NewLoader(s, e.classes, data.LoaderOptions{
		Batch: min(e.o.Batch, s.Len()), Augment: e.o.Transform, Workers: e.o.Workers, Eval: true,
		Part: e.part, Parts: e.parts,
	})
	if err == nil {
		e.loaders[s] = l
	}
	return l, err
}

// checkHost returns a *MemoryError where an evaluation needs more of the
// machine's memory than is left. Of a trainer's evaluator, the trainer has seen
// to it.
func (e *Evaluator) checkHost(s *data.Split, l *data.Loader) error {
	k, err := e.shape(s, e.o.Batch)
	if err != nil || e.fit != nil || e.progs[k] != nil {
		return err
	}
	return checkHost("evaluation", k, func(batch int) (int, error) {
		if _, ok := e.store.Backend().(engine.HostBacked); !ok {
			return l.Bytes(batch), nil
		}
		n, err := e.footprint(s, batch)
		return n + l.Bytes(batch), err
	})
}

// nll is -log softmax(x)[k], in float64.
func nll(x []float32, k int) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v)) // NaN if any is
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return math.Log(sum) + top - float64(x[k])
}
