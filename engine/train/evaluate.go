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
	// Int8 lets the net compute in integers on weights that were quantised so;
	// see engine.Options.
	Int8 engine.Int8
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
}

// An inference is the net compiled for one shape of batch.
type inference struct {
	prog           *engine.Program
	in             engine.Bindings
	images, logits *engine.Value
	padded         []float32 // a batch's images, where fewer than the program's arrive
	host           []float32
}

// NewEvaluator returns an evaluator of the net, whose variables' values lie in
// store.
func NewEvaluator(net Net, store *engine.Store, classes int, o EvalOptions) (*Evaluator, error) {
	if o.Batch < 1 {
		return nil, fmt.Errorf("evaluation: batch must be at least 1, not %d", o.Batch)
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
	l, err := e.loader(s)
	if err != nil {
		return nil, err
	}
	batches := l.Epoch(ctx, 0, 0)
	defer batches.Close()
	ev := &Evaluation{Confusion: NewConfusion(e.classes)}
	sum := 0.0
	for {
		b, err := batches.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		logits, err := e.batch(ctx, b.Images, b.N, min(e.o.Batch, s.Len()), b.H, b.W, b.C)
		if err != nil {
			return nil, err
		}
		for i := range b.N {
			row, label := logits[i*e.classes:(i+1)*e.classes], int(b.Labels[i])
			if label < 0 || label >= e.classes {
				return nil, fmt.Errorf("evaluation: %s has label %d, the net %d classes", s.File(b.Index[i]), label, e.classes)
			}
			sum += nll(row, label)
			ev.Confusion[label][argmax(row)]++
			if each != nil {
				if err := each(b.Index[i], row); err != nil {
					return nil, err
				}
			}
		}
		ev.N += b.N
	}
	if ev.N != s.Len() {
		return nil, fmt.Errorf("evaluation: %d of %d images arrived", ev.N, s.Len())
	}
	ev.Loss, ev.Top1 = sum/float64(ev.N), ev.Confusion.Accuracy()
	ev.ImagesPerSecond = rate(ev.N, time.Since(begin).Seconds())
	return ev, nil
}

// Logits runs n images, NHWC with three channels, transformed already, and
// returns their logits [n, classes] in memory of its own.
func (e *Evaluator) Logits(ctx context.Context, images []float32, n, h, w int) ([]float32, error) {
	const c = 3
	if n < 1 || h < 1 || w < 1 || len(images) != n*h*w*c {
		return nil, fmt.Errorf("%d values for %d images of %dx%dx%d: %w", len(images), n, h, w, c, engine.ErrShape)
	}
	out := make([]float32, 0, n*e.classes)
	for batch := min(e.o.Batch, n); n > 0; {
		k := min(batch, n)
		logits, err := e.batch(ctx, images[:k*h*w*c], k, batch, h, w, c)
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
	})
	if err == nil {
		e.loaders[s] = l
	}
	return l, err
}

// batch runs n images through the program for batches of size `of`, the rest
// filled with zeros, and returns the logits, which the next call overwrites.
// Without BatchNorm's batch statistics the images do not touch one another.
func (e *Evaluator) batch(ctx context.Context, images []float32, n, of, h, w, c int) ([]float32, error) {
	k := stepKey{n: of, h: h, w: w, c: c}
	p := e.progs[k]
	if p == nil {
		var err error
		if p, err = e.build(k); err != nil {
			return nil, fmt.Errorf("evaluation of %d images of %dx%d: %w", of, h, w, err)
		}
		e.progs[k] = p
	}
	if n < of {
		if p.padded == nil {
			p.padded = make([]float32, of*h*w*c)
		}
		clear(p.padded[copy(p.padded, images[:n*h*w*c]):])
		images = p.padded
	}
	p.in[p.images] = engine.Bytes(images[:of*h*w*c])
	if err := p.prog.Run(ctx, p.in); err != nil {
		return nil, err
	}
	return p.host, p.prog.Read(p.logits, engine.Bytes(p.host))
}

func (e *Evaluator) build(k stepKey) (*inference, error) {
	b := engine.NewBuilder(engine.NewGraph())
	p := &inference{in: make(engine.Bindings, 1)}
	p.images = b.Input("images", engine.F32(k.n, k.h, k.w, k.c))
	p.logits = e.net.Forward(b, p.images, false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if want := engine.F32(k.n, e.classes); !p.logits.Equal(want) {
		return nil, fmt.Errorf("the net's logits are %v, the data have %d classes", p.logits.Spec, e.classes)
	}
	p.host = make([]float32, p.logits.Len())
	var err error
	p.prog, err = b.Graph().Compile(e.store.Backend(), engine.Options{Store: e.store, Outputs: []*engine.Value{p.logits}, Int8: e.o.Int8})
	return p, err
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
