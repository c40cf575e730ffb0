package train

import (
	"context"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A stepKey tells the training programs of one run apart.
type stepKey struct {
	n, h, w, c int
	weight     float32 // of the gradient, when accumulating; else 1
}

// A program is a written step compiled for one shape of batch.
type program struct {
	*WrittenStep
	prog          *engine.Program
	images        *engine.Value // as the loader makes them; nil if they are made from
	index, params *engine.Value // these on the device

	lossHost, logitsHost, normHost    []float32
	lossBytes, logitsBytes, normBytes []byte // the same memory
}

// program returns the program for batches of this shape, compiling it at first use.
func (t *Trainer) program(k stepKey) (*program, error) {
	if p, ok := t.programs[k]; ok {
		return p, nil
	}
	g, p, err := t.write(k)
	if err == nil {
		err = t.compile(g, p)
	}
	if err != nil {
		err = fmt.Errorf("training step for %d images of %dx%d: %w", k.n, k.h, k.w, err)
		return nil, t.explainMemory("training step", k, err)
	}
	t.programs[k] = p
	return p, nil
}

// write writes the step down for batches of this shape.
func (t *Trainer) write(k stepKey) (g *engine.Graph, p *program, err error) {
	b, p := engine.NewBuilder(engine.NewGraph()), &program{}
	images := t.source(b, p, k)
	if err := b.Err(); err != nil {
		return nil, nil, err
	}
	p.WrittenStep, err = t.step.Build(b, images, t.classes, k.weight)
	return b.Graph(), p, err
}

// optimizer returns the program that runs the optimizer on the accumulated
// gradients.
func (t *Trainer) optimizer() (*program, error) {
	if t.optimize != nil {
		return t.optimize, nil
	}
	b, p := engine.NewBuilder(engine.NewGraph()), &program{}
	var err error
	if p.WrittenStep, err = t.step.BuildUpdate(b); err == nil {
		err = t.compile(b.Graph(), p)
	}
	if err != nil {
		h, w, c := t.loader.Shape()
		return nil, t.explainMemory("optimizer step", stepKey{n: t.c.Batch, h: h, w: w, c: c}, fmt.Errorf("optimizer step: %w", err))
	}
	t.optimize = p
	return p, nil
}

// outputs returns what is read back after a run.
func (p *program) outputs() []*engine.Value {
	var out []*engine.Value
	for _, v := range []*engine.Value{p.Loss, p.Logits, p.Norm} {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// compile makes the program and the host's side of its outputs.
func (t *Trainer) compile(g *engine.Graph, p *program) error {
	if p.Loss != nil {
		p.lossHost, p.logitsHost = make([]float32, 1), make([]float32, p.Logits.Len())
		p.lossBytes, p.logitsBytes = engine.Bytes(p.lossHost), engine.Bytes(p.logitsHost)
	}
	if p.Norm != nil {
		p.normHost = make([]float32, 1)
		p.normBytes = engine.Bytes(p.normHost)
	}
	var err error
	p.prog, err = g.Compile(t.store.Backend(), engine.Options{Store: t.store, Outputs: p.outputs()})
	return err
}

// start begins a run of the step on a batch, nil for none. It allocates nothing.
func (p *program) start(ctx context.Context, b *data.Batch) (engine.Flight, error) {
	if b != nil {
		p.bind(b)
	}
	return p.prog.Start(ctx, p.In)
}

// land waits for a run of the step and reads back loss, logits and norm, as far
// as there are. It allocates nothing.
func (p *program) land(f engine.Flight) error {
	if err := f.Wait(); err != nil {
		return err
	}
	if p.Loss != nil {
		if err := f.Read(p.Loss, p.lossBytes); err != nil {
			return err
		}
		if err := f.Read(p.Logits, p.logitsBytes); err != nil {
			return err
		}
	}
	if p.Norm != nil {
		return f.Read(p.Norm, p.normBytes)
	}
	return nil
}
