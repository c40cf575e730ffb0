package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A stepInput is what a case of the comparison computes on.
type stepInput struct {
	image   []float32 // [N,C,H,W], in (0, 1]
	shape   []int
	target  []int64 // [N], classes
	net     layers.StateDict
	teacher layers.StateDict // nil: none
}

// The names of a stepInput's tensors in a file, and of the metadata.
const (
	stepImage    = "image"
	stepTarget   = "target"
	stepNet      = "net."
	stepTeacher  = "teacher."
	stepCaseName = "case"
)

// newStepInput makes pseudo-random images, PyTorch's initial weights, and for
// nets that only infer the statistics of some steps of training.
func newStepInput(ctx context.Context, b engine.Backend, sc stepCase) (in *stepInput, err error) {
	in = &stepInput{shape: []int{sc.batch, 3, sc.size, sc.size}}
	in.image = noise(sc.batch * 3 * sc.size * sc.size)
	for i := range sc.batch {
		in.target = append(in.target, int64(i*7%sc.arch.Classes))
	}
	if in.net, err = initialState(ctx, b, sc, sc.mode == modeInfer); err != nil {
		return nil, err
	}
	if sc.quant != checkpoint.Float32 && !sc.integers() {
		if in.net, err = checkpoint.Quantize(in.net, sc.quant); err != nil {
			return nil, err
		}
	}
	if sc.mode == modeDistill {
		teacher := stepCase{arch: layers.Arch{Family: teacherFamily, Classes: sc.arch.Classes}}
		in.teacher, err = initialState(ctx, b, teacher, true)
	}
	return in, err
}

// noise returns n values in (0, 1].
func noise(n int) []float32 {
	v := make([]float32, n)
	x := uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		v[i] = float32(x>>8+1) / (1 << 24)
	}
	return v
}

// Training that gives BatchNorm statistics that belong to the net.
const (
	settleSteps = 20
	settleBatch = 8
	settleSize  = 64
)

// initialState returns the net's initial weights; settled, those that it has
// after some steps of training.
func initialState(ctx context.Context, b engine.Backend, sc stepCase, settled bool) (_ layers.StateDict, err error) {
	net, err := sc.model()
	if err != nil {
		return nil, err
	}
	if !settled {
		store := engine.NewStore(b)
		defer func() { err = errors.Join(err, store.Close()) }()
		if err := net.Init(store, 1); err != nil {
			return nil, err
		}
		return net.State(store)
	}
	p, err := programSpec{net: net, batch: settleBatch, height: settleSize, width: settleSize, train: true}.compile(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	s := stepper{program: p}
	p.in[s.named("images")] = engine.Bytes(noise(settleBatch * settleSize * settleSize * 3))
	for range settleSteps {
		if err := s.run(ctx); err != nil {
			return nil, err
		}
	}
	return net.State(p.store)
}

// save writes a file for the other tool.
func (in *stepInput) save(path, name string) error {
	f := &safetensors.File{Metadata: map[string]string{stepCaseName: name}, Tensors: []safetensors.Tensor{
		safetensors.FromFloat32(stepImage, in.shape, in.image),
		safetensors.FromInt64(stepTarget, []int{len(in.target)}, in.target),
	}}
	add := func(prefix string, state layers.StateDict) {
		for _, e := range state {
			data := e.Data
			for _, n := range e.Int {
				data = append(data, float32(n)) // a counter, which the other tool has no use for
			}
			f.Tensors = append(f.Tensors, safetensors.FromFloat32(prefix+e.Name, e.Shape, data))
		}
	}
	add(stepNet, in.net)
	add(stepTeacher, in.teacher)
	_, err := safetensors.Write(path, f)
	return err
}

// loadStepInput reads such a file.
func loadStepInput(path, name string, sc stepCase) (*stepInput, error) {
	f, err := safetensors.Read(path)
	if err != nil {
		return nil, err
	}
	if got := f.Metadata[stepCaseName]; got != name {
		return nil, fmt.Errorf("%s is not of the case %s but of %q; write it with potstill bench step %s --save", path, name, got, name)
	}
	in := &stepInput{}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if err := in.take(t, sc.arch.Classes); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, t.Name, err)
		}
	}
	if want := []int{sc.batch, 3, sc.size, sc.size}; !slices.Equal(in.shape, want) || len(in.target) != sc.batch {
		return nil, fmt.Errorf("%s: %v images and %d targets, want %v; write it again with --save", path, in.shape, len(in.target), want)
	}
	return in, nil
}

// take puts a tensor of a file where it belongs.
func (in *stepInput) take(t *safetensors.Tensor, classes int) (err error) {
	switch {
	case t.Name == stepImage:
		in.shape = t.Shape
		in.image, err = safetensors.Float32s(t)
		return err
	case t.Name == stepTarget:
		in.target, err = safetensors.Int64s(t)
		for _, k := range in.target {
			if err == nil && (k < 0 || k >= int64(classes)) {
				err = fmt.Errorf("class %d is none of %d", k, classes)
			}
		}
		return err
	}
	e := layers.Entry{Shape: t.Shape}
	if e.Data, err = safetensors.Float32s(t); err != nil {
		return err
	}
	if strings.HasSuffix(t.Name, ".num_batches_tracked") && len(e.Data) == 1 {
		e.Data, e.Int = nil, []int64{int64(e.Data[0])}
	}
	if name, ok := strings.CutPrefix(t.Name, stepTeacher); ok {
		e.Name = name
		in.teacher = append(in.teacher, e)
		return nil
	}
	name, ok := strings.CutPrefix(t.Name, stepNet)
	if !ok {
		return errors.New("no name that belongs here")
	}
	e.Name = name
	in.net = append(in.net, e)
	return nil
}
