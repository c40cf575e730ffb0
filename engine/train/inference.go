package train

import (
	"context"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// An inference is the net compiled for one shape of batch.
type inference struct {
	prog           *engine.Program
	in             engine.Bindings
	images, logits *engine.Value
	padded         []float32 // a batch's images, where fewer than the program's arrive
	host           []float32
}

// A pass is a batch on its way through a program.
type pass struct {
	p *inference
	f engine.Flight
	b *data.Batch // may be read until the next but one is fetched
}

// launch starts n images on their way through the program for batches of size
// `of`, the rest filled with zeros. Without BatchNorm's batch statistics the
// images do not touch one another.
func (e *Evaluator) launch(ctx context.Context, images []float32, n, of, h, w, c int) (pass, error) {
	p, err := e.program(stepKey{n: of, h: h, w: w, c: c})
	if err != nil {
		return pass{}, err
	}
	if n < of {
		if p.padded == nil {
			p.padded = make([]float32, of*h*w*c)
		}
		clear(p.padded[copy(p.padded, images[:n*h*w*c]):])
		images = p.padded
	}
	p.in[p.images] = engine.Bytes(images[:of*h*w*c])
	f, err := p.prog.Start(ctx, p.in)
	return pass{p: p, f: f}, fault(e.store.Backend(), err)
}

// land waits for a pass and returns its logits, which the next call overwrites.
func (e *Evaluator) land(q pass) ([]float32, error) {
	err := q.f.Wait()
	if err == nil {
		err = q.f.Read(q.p.logits, engine.Bytes(q.p.host))
	}
	return q.p.host, fault(e.store.Backend(), err)
}

// program returns the program for batches of this shape, compiling it at first use.
func (e *Evaluator) program(k stepKey) (*inference, error) {
	if p := e.progs[k]; p != nil {
		return p, nil
	}
	g, p, err := e.build(k)
	if err == nil {
		p.prog, err = g.Compile(e.store.Backend(), e.options(p))
	}
	if err != nil {
		fit := e.fit
		if fit == nil {
			fit = func(free int) int {
				return LargestBatch(k.n, spare(free), func(n int) (int, error) { return e.arena(stepKey{n: n, h: k.h, w: k.w, c: k.c}) })
			}
		}
		err = fmt.Errorf("evaluation of %d images of %dx%d: %w", k.n, k.h, k.w, err)
		return nil, explainMemory("evaluation", k, e.store.Backend(), err, fit)
	}
	e.progs[k] = p
	return p, nil
}

// build writes the program down.
func (e *Evaluator) build(k stepKey) (*engine.Graph, *inference, error) {
	b := engine.NewBuilder(engine.NewGraph())
	p := &inference{in: make(engine.Bindings, 1)}
	p.images = b.Input("images", engine.F32(k.n, k.h, k.w, k.c))
	x := p.images
	if e.o.Precision == BFloat16 {
		x = b.One(engine.Cast{To: engine.BFloat16}, x)
	}
	p.logits = e.net.Build(b, x, false).Logits
	if err := b.Err(); err != nil {
		return nil, nil, err
	}
	if want := engine.F32(k.n, e.classes); !p.logits.Equal(want) {
		return nil, nil, fmt.Errorf("the net's logits are %v, the data have %d classes", p.logits.Spec, e.classes)
	}
	p.host = make([]float32, p.logits.Len())
	return b.Graph(), p, nil
}

func (e *Evaluator) options(p *inference) engine.Options {
	return engine.Options{Store: e.store, Outputs: []*engine.Value{p.logits}}
}

// arena returns the bytes that the program for such batches takes.
func (e *Evaluator) arena(k stepKey) (int, error) {
	g, p, err := e.build(k)
	if err != nil {
		return 0, err
	}
	n, err := g.Footprint(e.store.Backend(), e.options(p))
	return taken(n), err
}

// shape returns the program that a split needs with batches of so many images.
func (e *Evaluator) shape(s *data.Split, batch int) (stepKey, error) {
	l, err := e.loader(s)
	if err != nil {
		return stepKey{}, err
	}
	h, w, c := l.Shape()
	return stepKey{n: min(batch, s.Len()), h: h, w: w, c: c}, nil
}

// footprint returns the bytes that the program of a split takes with batches of
// so many images.
func (e *Evaluator) footprint(s *data.Split, batch int) (int, error) {
	k, err := e.shape(s, batch)
	if err != nil {
		return 0, err
	}
	return e.arena(k)
}

// prepare compiles the program that a split needs.
func (e *Evaluator) prepare(s *data.Split) error {
	k, err := e.shape(s, e.o.Batch)
	if err == nil {
		_, err = e.program(k)
	}
	return err
}
