package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/engine/wire"
	"github.com/potstill/potstill/layers"
)

// A programSpec describes a program to explain or to measure.
type programSpec struct {
	net           *layers.Model
	teacher       *layers.Model // nil: none
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
	store  *engine.Store
	in     engine.Bindings
	images *engine.Value  // nil if they are resident
	flight *engine.Flight // the last launch
	out    *engine.Value  // the loss, or the logits
}

// compile builds the graph, with PyTorch's initial weights, and compiles it.
func (s programSpec) compile(b engine.Backend) (_ *program, err error) {
	p := &program{store: engine.NewStore(b), in: make(engine.Bindings)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := s.net.Init(p.store, 1); err != nil {
		return nil, err
	}
	bd := engine.NewBuilder(engine.NewGraph())
	images, err := s.images(bd, p, s.net.Net().Input.Channels)
	if err != nil {
		return nil, err
	}
	var out *engine.Value
	if s.train {
		if out, err = s.step(bd, p, images); err != nil {
			return nil, err
		}
	} else {
		out = s.logits(bd, images)
	}
	if err := bd.Err(); err != nil {
		return nil, err
	}
	p.out = out
	p.Program, err = bd.Graph().Compile(b, engine.Options{Store: p.store, Outputs: []*engine.Value{out}, NoFuse: s.noFuse})
	return p, err
}

// images adds the batch: an input, or what is made on the device.
func (s programSpec) images(bd *engine.Builder, p *program, channels int) (*engine.Value, error) {
	if s.resident {
		return s.augmented(bd, p)
	}
	p.images = bd.Input("images", engine.F32(s.batch, s.height, s.width, channels))
	pixels := make([]float32, p.images.Len())
	for i := range pixels {
		pixels[i] = float32(i*7919%256) / 255
	}
	p.in[p.images] = engine.Bytes(pixels)
	return p.images, nil
}

// augmented adds images in bytes that stay on the device, and the batch made of
// them: each image as it is.
func (s programSpec) augmented(bd *engine.Builder, p *program) (*engine.Value, error) {
	pixels := make([]uint8, s.batch*s.height*s.width*3)
	for i := range pixels {
		pixels[i] = uint8(i * 7919)
	}
	table := make([]float32, engine.AugmentTable.Len())
	for i := range table {
		table[i] = float32(i%256) / 255
	}
	set := &engine.Variable{Name: "images", Spec: engine.Spec{Shape: []int{s.batch, s.height, s.width, 3}, DType: engine.Uint8}}
	values := &engine.Variable{Name: "values", Spec: engine.AugmentTable}
	if err := errors.Join(p.store.Set(set, pixels), p.store.Set(values, engine.Bytes(table))); err != nil {
		return nil, err
	}
	index, params := make([]uint32, s.batch), make([]uint32, s.batch*wire.AugmentParams)
	for i := range index {
		row := params[i*wire.AugmentParams:]
		index[i] = uint32(i)
		row[wire.AugmentAX], row[wire.AugmentBY] = 1<<16, 1<<16
		row[wire.AugmentX0], row[wire.AugmentY0] = 1<<15, 1<<15
	}
	in := bd.Input("index", engine.Spec{Shape: []int{s.batch}, DType: engine.Uint32})
	rows := bd.Input("params", engine.Spec{Shape: []int{s.batch, wire.AugmentParams}, DType: engine.Uint32})
	p.in[in], p.in[rows] = engine.Bytes(index), engine.Bytes(params)
	return bd.One(engine.Augment{Height: s.height, Width: s.width}, bd.Variable(set), in, rows, bd.Variable(values)), nil
}

// step adds what the trainer adds to a net, with AdamW, and returns the loss.
func (s programSpec) step(bd *engine.Builder, p *program, images *engine.Value) (*engine.Value, error) {
	c := train.Config{Optimizer: train.OptimizerConfig{LR: 1e-3, WeightDecay: 1e-2}}
	if s.bfloat16 {
		c.Precision = train.BFloat16
	}
	var loss train.LossFunc
	var frozen []*engine.Variable
	if s.teacher != nil {
		if err := s.teacher.Init(p.store, 2); err != nil {
			return nil, err
		}
		loss, frozen = distill.Loss(distill.DefaultSettings(), s.teacher, 0), s.teacher.Variables()
	}
	classes := s.net.Net().Classes()
	step := train.NewStep(s.net, c, loss, frozen)
	w, err := step.Build(bd, images, classes, 1)
	if err != nil {
		return nil, err
	}
	step.Tell(train.Moment{First: true, LR: c.Optimizer.LR})
	target := make([]float32, w.Target.Len())
	for i := range s.batch {
		target[i*classes+i%classes] = 1
	}
	maps.Copy(p.in, w.In)
	p.in[w.Target] = engine.Bytes(target)
	return w.Loss, nil
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
// works beside the host always has one to go on with.
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
