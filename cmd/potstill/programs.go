package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/engine/wire"
	"github.com/potstill/potstill/layers"
)

// A programSpec describes a program to explain or to measure.
type programSpec struct {
	net           *layers.Model
	state         layers.StateDict // its values; nil: PyTorch's initial ones
	teacher       *layers.Model    // nil: none
	batch         int
	height, width int
	train         bool // a whole step with AdamW, else inference
	noFuse        bool
	bfloat16      bool // mixed precision
	resident      bool // the images are on the device, where an Augment makes the batch
}

// A program is one compiled, with a store of its own and constant inputs.
type program struct {
	*engine.Program
	store    *engine.Store
	in       engine.Bindings
	images   *engine.Value  // nil if they are resident
	flight   *engine.Flight // the last launch
	training *train.Step    // nil in inference
	out      *engine.Value  // the loss, or the logits
	fills    []func()       // each makes the data of an input
	upload   func() error   // sends what stays on the device
	host     int            // bytes of that data
}

// compile builds the graph, with the net's values or initial ones, and compiles it. What
// does not fit into the memory that is left is a *train.MemoryError.
func (s programSpec) compile(b engine.Backend) (_ *program, err error) {
	if err := s.checkMemory(b); err != nil {
		return nil, err
	}
	p, g, err := s.build(b)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for i, m := range []*layers.Model{s.net, s.teacher} {
		if m == nil {
			continue
		}
		if m == s.net && s.state != nil {
			err = m.Load(p.store, s.state)
		} else {
			err = m.Init(p.store, uint64(i+1))
		}
		if err != nil {
			return nil, err
		}
	}
	for _, fill := range p.fills {
		fill()
	}
	if err := p.upload(); err != nil {
		return nil, err
	}
	p.Program, err = g.Compile(b, s.options(p))
	return p, err
}

// explain describes the plan and takes no memory for it.
func (s programSpec) explain(b engine.Backend) (*engine.Plan, error) {
	p, g, err := s.build(b)
	if err != nil {
		return nil, err
	}
	plan, err := g.Explain(b, s.options(p))
	return plan, errors.Join(err, p.Close())
}

func (s programSpec) options(p *program) engine.Options {
	return engine.Options{Store: p.store, Outputs: []*engine.Value{p.out}, NoFuse: s.noFuse}
}

// build writes the program down.
func (s programSpec) build(b engine.Backend) (*program, *engine.Graph, error) {
	if err := s.checkSize(); err != nil {
		return nil, nil, err
	}
	p := &program{store: engine.NewStore(b), in: make(engine.Bindings), upload: func() error { return nil }}
	bd := engine.NewBuilder(engine.NewGraph())
	images := s.images(bd, p, s.net.Net().Input.Channels)
	if !s.train {
		p.out = s.logits(bd, images)
	} else if err := s.step(bd, p, images); err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	if err := bd.Err(); err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	return p, bd.Graph(), nil
}

// input adds an input, whose data make makes.
func (p *program) input(bd *engine.Builder, name string, spec engine.Spec, make func() []byte) *engine.Value {
	v := bd.Input(name, spec)
	p.fill(v, make)
	return v
}

// fill has the data of an input made by make, once the program is compiled.
func (p *program) fill(v *engine.Value, make func() []byte) {
	p.host += v.Bytes()
	p.fills = append(p.fills, func() { p.in[v] = make() })
}

// images adds the batch: an input, or what is made on the device.
func (s programSpec) images(bd *engine.Builder, p *program, channels int) *engine.Value {
	if s.resident {
		return s.augmented(bd, p)
	}
	spec := engine.F32(s.batch, s.height, s.width, channels)
	p.images = p.input(bd, "images", spec, func() []byte {
		pixels := make([]float32, spec.Len())
		for i := range pixels {
			pixels[i] = float32(i*7919%256) / 255
		}
		return engine.Bytes(pixels)
	})
	return p.images
}

// augmented adds images in bytes that stay on the device, and the batch made of
// them: each image as it is.
func (s programSpec) augmented(bd *engine.Builder, p *program) *engine.Value {
	set := &engine.Variable{Name: "images", Spec: engine.Spec{Shape: []int{s.batch, s.height, s.width, 3}, DType: engine.Uint8}}
	values := &engine.Variable{Name: "values", Spec: engine.AugmentTable}
	p.host += set.Bytes()
	p.upload = func() error {
		pixels := make([]uint8, set.Len())
		for i := range pixels {
			pixels[i] = uint8(i * 7919)
		}
		table := make([]float32, values.Len())
		for i := range table {
			table[i] = float32(i%256) / 255
		}
		return errors.Join(p.store.Set(set, pixels), p.store.Set(values, engine.Bytes(table)))
	}
	in := p.input(bd, "index", engine.Spec{Shape: []int{s.batch}, DType: engine.Uint32}, func() []byte {
		index := make([]uint32, s.batch)
		for i := range index {
			index[i] = uint32(i)
		}
		return engine.Bytes(index)
	})
	rows := p.input(bd, "params", engine.Spec{Shape: []int{s.batch, wire.AugmentParams}, DType: engine.Uint32}, func() []byte {
		params := make([]uint32, s.batch*wire.AugmentParams)
		for row := range slices.Chunk(params, wire.AugmentParams) {
			row[wire.AugmentAX], row[wire.AugmentBY] = 1<<16, 1<<16
			row[wire.AugmentX0], row[wire.AugmentY0] = 1<<15, 1<<15
		}
		return engine.Bytes(params)
	})
	return bd.One(engine.Augment{Height: s.height, Width: s.width}, bd.Variable(set), in, rows, bd.Variable(values))
}

// step adds what the trainer adds to a net, with AdamW, and the loss.
func (s programSpec) step(bd *engine.Builder, p *program, images *engine.Value) error {
	if err := bd.Err(); err != nil {
		return err
	}
	c := train.Config{Optimizer: train.OptimizerConfig{LR: 1e-3, WeightDecay: 1e-2}}
	if s.bfloat16 {
		c.Precision = train.BFloat16
	}
	if s.teacher != nil {
		loss, err := distill.NewLoss(distill.DefaultSettings(), []*layers.Model{s.teacher}, distill.Options{})
		if err != nil {
			return err
		}
		c.Objective = loss
	}
	classes := s.net.Net().Classes()
	step := train.NewStep(s.net, c)
	w, err := step.Build(bd, []*engine.Value{images}, classes, 1)
	if err != nil {
		return err
	}
	step.Tell(train.Moment{First: true, LR: c.Optimizer.LR}, nil)
	p.out, p.training = w.Loss, step
	maps.Copy(p.in, w.In)
	p.fill(w.Target, func() []byte {
		target := make([]float32, w.Target.Len())
		for i := range s.batch {
			target[i*classes+i%classes] = 1
		}
		return engine.Bytes(target)
	})
	return nil
}

// logits adds inference.
func (s programSpec) logits(bd *engine.Builder, images *engine.Value) *engine.Value {
	if s.bfloat16 {
		images = bd.One(engine.Cast{To: engine.BFloat16}, images)
	}
	return s.net.Forward(bd, images, false)
}

// run runs the program once.
func (p *program) run(ctx context.Context) error { return p.Run(ctx, p.in) }

// launch starts a run and waits for the one before it, so that a device that
// works beside the host always has a next one.
func (p *program) launch(ctx context.Context) error {
	flight, err := p.Start(ctx, p.in)
	if err != nil {
		return err
	}
	last := p.flight
	p.flight = &flight
	if last == nil {
		return nil
	}
	return last.Wait()
}

// land waits for the last launch.
func (p *program) land() error {
	if p.flight == nil {
		return nil
	}
	last := p.flight
	p.flight = nil
	return last.Wait()
}

// Close frees the program and its store.
func (p *program) Close() error {
	var err error
	if p.Program != nil {
		err = p.Program.Close()
	}
	return errors.Join(err, p.store.Close())
}

// checkBatch says what is wrong with a batch.
func checkBatch(n int) error {
	if n < 1 {
		return fmt.Errorf("--batch %d: give at least 1", n)
	}
	return nil
}

// maxBatchPixels bounds the pixels of a batch, so that no product of sizes
// overflows; no machine has the memory.
const maxBatchPixels = 1 << 36

// checkSize refuses batches beyond it.
func (s programSpec) checkSize() error {
	switch {
	case s.height < 1 || s.width < 1 || s.height > maxBatchPixels/s.width:
		return fmt.Errorf("images of %dx%d: no net takes them; give another size", s.height, s.width)
	case s.batch > s.mostImages():
		return fmt.Errorf("a batch of %d images of %dx%d is more than any machine holds: give %d or fewer", s.batch, s.height, s.width, s.mostImages())
	}
	return checkBatch(s.batch)
}

// mostImages is the largest batch that checkSize accepts.
func (s programSpec) mostImages() int { return maxBatchPixels / s.height / s.width }

// checkMemory refuses a program that the memory that is left is too small for.
func (s programSpec) checkMemory(b engine.Backend) error {
	e := &train.MemoryError{What: "inference", Images: s.batch, H: s.height, W: s.width, Device: b.Name(), Err: engine.ErrOutOfMemory}
	if s.train {
		e.What = "training step"
	}
	if e.Free = engine.FreeMemory(b); e.Free < 0 {
		return nil
	}
	most, needs := s.batch, s.needsOf(b)
	if err := s.checkSize(); err == nil {
		if e.Needed, err = needs(s.batch); err != nil || e.Needed <= e.Free {
			return err
		}
	} else if most = s.mostImages(); s.batch <= most {
		return err // the batch is not what is wrong
	}
	e.Batch = train.LargestBatch(most, e.Free-e.Free/64, needs)
	return e
}

// needsOf returns what tells how many bytes of the backend's memory the program
// takes with another batch.
func (s programSpec) needsOf(b engine.Backend) func(batch int) (int, error) {
	_, hosted := b.(engine.HostBacked)
	return func(batch int) (int, error) {
		s.batch = batch
		p, g, err := s.build(b)
		if err != nil {
			return 0, err
		}
		plan, err := g.Explain(b, s.options(p))
		if err = errors.Join(err, p.Close()); err != nil {
			return 0, err
		}
		n := plan.ArenaBytes + plan.StateBytes
		if hosted {
			n += p.host
		}
		return n, nil
	}
}
