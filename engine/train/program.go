package train

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// programs are a run's step, compiled for each shape of batch that occurs.
type programs struct {
	step    *Step
	source  *source
	store   *engine.Store
	classes int
	batches map[stepKey]*program
	updates map[bool]*program // the optimizer's, when accumulating, and that of a rank that has had no batch
}

// A stepKey tells the training programs of one run apart.
type stepKey struct {
	n, h, w, c int
	weight     float32 // of the gradient, when accumulating; else 1
	active     int     // the ranks that have a batch; 1 in a single process
}

// A program is a written step compiled for one shape of batch.
type program struct {
	*WrittenStep
	prog   *engine.Program
	images *engine.Value   // as the loader makes them; nil if they are made on the device
	views  []*engine.Value // the other ones
	params *engine.Value   // what they are made by on the device

	// What the last run that was waited for has come to; nil where there is none.
	loss, logits, norm []float32
	terms              [][]float32 // of the loss
	read               []reading
}

// A reading is an output of a program and the host's memory for it.
type reading struct {
	v   *engine.Value
	dst []byte
}

// of returns the program for batches of this shape, compiling it at first use.
func (ps *programs) of(k stepKey) (*program, error) {
	if p, ok := ps.batches[k]; ok {
		return p, nil
	}
	g, p, err := ps.write(k)
	if err == nil {
		err = ps.compile(g, p)
	}
	if err != nil {
		return nil, fmt.Errorf("training step for %d images of %dx%d: %w", k.n, k.h, k.w, err)
	}
	ps.batches[k] = p
	return p, nil
}

// write writes the step down for batches of this shape.
func (ps *programs) write(k stepKey) (g *engine.Graph, p *program, err error) {
	b, p := engine.NewBuilder(engine.NewGraph()), &program{}
	switch {
	case k.n == 0 && ps.step.c.SyncBatchNorm:
		err = ps.writeAbsent(b, p, k.active)
		return b.Graph(), p, err
	case k.n == 0:
		p.WrittenStep, err = ps.step.buildIdle(b, k.active)
		return b.Graph(), p, err
	}
	images := ps.source.write(b, p, k)
	if err := b.Err(); err != nil {
		return nil, nil, err
	}
	p.WrittenStep, err = ps.step.build(b, images, ps.classes, k.weight, k.active)
	return b.Graph(), p, err
}

// absentImages is how many images a rank without a batch makes up.
const absentImages = 2

// writeAbsent writes the step of a rank that has no batch, and whose batch norms take part in
// those of the others: that of two black images (for one alone a batch norm of one pixel has no
// variance), of which nothing else counts.
func (ps *programs) writeAbsent(b *engine.Builder, p *program, active int) (err error) {
	blank := make(engine.Bindings)
	image := func(name string, h, w, c int) *engine.Value {
		v := b.Input(name, engine.F32(absentImages, h, w, c))
		blank[v] = make([]byte, v.Bytes())
		return v
	}
	loader := ps.source.loader
	h, w, c := loader.Shape()
	images := []*engine.Value{image("images", h, w, c)}
	for i := range ps.source.views {
		h, w, c := loader.ViewShape(i)
		images = append(images, image(fmt.Sprintf("images.%d", i+1), h, w, c))
	}
	if p.WrittenStep, err = ps.step.build(b, images, ps.classes, 1, active); err != nil {
		return err
	}
	target := make([]float32, absentImages*ps.classes)
	for i := range absentImages {
		target[i*ps.classes] = 1
	}
	blank[p.Target] = engine.Bytes(target)
	if p.Index != nil {
		blank[p.Index] = make([]byte, p.Index.Bytes())
	}
	maps.Copy(p.In, blank)
	return nil
}

// optimizer returns the program that runs the optimizer on the accumulated
// gradients, or on none where this rank is absent from the step.
func (ps *programs) optimizer(absent bool) (*program, error) {
	if p := ps.updates[absent]; p != nil {
		return p, nil
	}
	b, p := engine.NewBuilder(engine.NewGraph()), &program{}
	var err error
	if p.WrittenStep, err = ps.step.buildUpdate(b, absent); err == nil {
		err = ps.compile(b.Graph(), p)
	}
	if err != nil {
		return nil, fmt.Errorf("optimizer step: %w", err)
	}
	ps.updates[absent] = p
	return p, nil
}

// compile makes the program and the host's side of its outputs.
func (ps *programs) compile(g *engine.Graph, p *program) error {
	host := func(v *engine.Value) []float32 {
		if v == nil {
			return nil
		}
		x := make([]float32, v.Len())
		p.read = append(p.read, reading{v, engine.Bytes(x)})
		return x
	}
	p.loss, p.logits, p.norm = host(p.Loss), host(p.Logits), host(p.Norm)
	for _, t := range p.Terms {
		p.terms = append(p.terms, host(t.Value))
	}
	var err error
	p.prog, err = g.Compile(ps.store.Backend(), engine.Options{Store: ps.store, Outputs: p.Outputs()})
	return err
}

// arenas returns the bytes that the programs' arenas take of the device.
func (ps *programs) arenas() (n int) {
	for _, p := range ps.batches {
		n += taken(p.prog.Plan().ArenaBytes)
	}
	for _, p := range ps.updates {
		n += taken(p.prog.Plan().ArenaBytes)
	}
	return n
}

// close frees the programs. It may be called twice.
func (ps *programs) close() error {
	var errs []error
	for k, p := range ps.batches {
		errs = append(errs, p.prog.Close())
		delete(ps.batches, k)
	}
	for absent, p := range ps.updates {
		errs = append(errs, p.prog.Close())
		delete(ps.updates, absent)
	}
	return errors.Join(errs...)
}

// start begins a run of the step on a batch, nil for none. It allocates nothing.
func (p *program) start(ctx context.Context, b *data.Batch) (engine.Flight, error) {
	if b != nil {
		p.bind(b)
	}
	return p.prog.Start(ctx, p.In)
}

// bind gives the program a batch.
func (p *program) bind(b *data.Batch) {
	if p.images != nil {
		p.In[p.images] = engine.Bytes(b.Images)
	} else {
		p.In[p.params] = engine.Bytes(b.Params)
	}
	for i, v := range p.views {
		p.In[v] = engine.Bytes(b.Views[i])
	}
	if p.Index != nil {
		p.In[p.Index] = engine.Bytes(b.Numbers)
	}
	p.In[p.Target] = engine.Bytes(b.Targets)
}

// land waits for a run of the step and reads back what it has come to. It
// allocates nothing.
func (p *program) land(f engine.Flight) error {
	if err := f.Wait(); err != nil {
		return err
	}
	for _, r := range p.read {
		if err := f.Read(r.v, r.dst); err != nil {
			return err
		}
	}
	return nil
}
