package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A stepper runs the steps of a case one after the other.
type stepper struct {
	*program
	step int // that have been run
}

// newStepper compiles a case on its weights and its batch.
func newStepper(ctx context.Context, b engine.Backend, sc stepCase, in *stepInput, bfloat16 bool) (s *stepper, err error) {
	spec := programSpec{batch: sc.batch, height: sc.size, width: sc.size, train: sc.mode != modeInfer, bfloat16: bfloat16}
	if spec.net, err = sc.model(); err != nil {
		return nil, err
	}
	spec.state = in.net
	if sc.integers() {
		if bfloat16 {
			return nil, errors.New("the case computes in integers; leave --precision out")
		}
		if spec.net, spec.state, err = in.integers(ctx, b, spec.net.Net()); err != nil {
			return nil, err
		}
	}
	if sc.mode == modeDistill {
		if spec.teacher, err = layers.New(layers.Arch{Family: teacherFamily, Classes: sc.arch.Classes}); err != nil {
			return nil, err
		}
	}
	p, err := spec.compile(b)
	if err != nil {
		return nil, err
	}
	s = &stepper{program: p}
	if spec.teacher != nil {
		if err := spec.teacher.Load(p.store, in.teacher); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	s.bind(sc, in)
	return s, nil
}

// pixels returns the batch as [N,H,W,C].
func (in *stepInput) pixels() []float32 {
	n, c, h, w := in.shape[0], in.shape[1], in.shape[2], in.shape[3]
	nhwc := make([]float32, len(in.image))
	for i := range n {
		for k := range c {
			for p := range h * w {
				nhwc[(i*h*w+p)*c+k] = in.image[(i*c+k)*h*w+p]
			}
		}
	}
	return nhwc
}

// calibrationBatch is how many images of the batch go through the net at a time when
// ranges are found.
const calibrationBatch = 8

// integers returns the net in integers, as quantize --scheme int8 makes it with the
// ranges of the batch.
func (in *stepInput) integers(ctx context.Context, b engine.Backend, n *layers.Net) (*layers.Model, layers.StateDict, error) {
	h, w, ch := in.shape[2], in.shape[3], in.shape[1]
	var images []quant.Images
	for pixels := range slices.Chunk(in.pixels(), calibrationBatch*h*w*ch) {
		images = append(images, quant.Images{N: len(pixels) / (h * w * ch), H: h, W: w, C: ch, Pixels: pixels})
	}
	c := &checkpoint.Checkpoint{Net: n, State: in.net, Classes: make([]string, n.Classes())}
	for i := range c.Classes {
		c.Classes[i] = fmt.Sprint(i)
	}
	q, _, err := quant.StaticOn(ctx, compress.Env{Backend: b}, c, quant.Options{Scheme: quant.Int8}, images)
	if err != nil {
		return nil, nil, err
	}
	net, state, err := layers.Integers(q.Net, q.State)
	if err != nil {
		return nil, nil, err
	}
	m, err := net.Model()
	return m, state, err
}

// bind replaces the program's inputs by the case's.
func (s *stepper) bind(sc stepCase, in *stepInput) {
	s.in[s.named("images")] = engine.Bytes(in.pixels())
	if sc.mode == modeInfer {
		return
	}
	hot := make([]float32, len(in.target)*sc.arch.Classes)
	for i, k := range in.target {
		hot[i*sc.arch.Classes+int(k)] = 1
	}
	s.in[s.named("target")] = engine.Bytes(hot)
}

// named returns the input of that name, nil if there is none.
func (s *stepper) named(name string) *engine.Value {
	for v := range s.in {
		if n, _, _ := strings.Cut(v.String(), "("); n == name {
			return v
		}
	}
	return nil
}

// stepLR is the learning rate: small, for the losses of the first steps are to
// be compared, and AdamW's first steps, which go by the gradient's sign, carry
// rounding into the loss in proportion to it.
const stepLR = 1e-4

// run runs one step, of training with AdamW at the count that it is at.
func (s *stepper) run(ctx context.Context) error {
	s.step++
	if s.training != nil {
		s.training.Tell(train.Moment{Update: s.step - 1, Batch: s.step - 1, First: true, LR: stepLR}, nil)
	}
	return s.program.run(ctx)
}

// checkSteps is the number of training steps whose losses are compared.
const checkSteps = 3

// check runs the first steps and returns their losses; of an inference, the
// logits of all images.
func (s *stepper) check(ctx context.Context) ([]float32, error) {
	var all []float32
	for range checkSteps {
		if err := s.run(ctx); err != nil {
			return nil, err
		}
		out := make([]float32, s.out.Len())
		if err := s.Read(s.out, engine.Bytes(out)); err != nil {
			return nil, err
		}
		if len(out) > 1 {
			all = nil // each run of an inference gives the same
		}
		all = append(all, out...)
	}
	for _, x := range all {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return nil, fmt.Errorf("a result of the first steps is %v", x)
		}
	}
	return all, nil
}
