package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// BatchNorm2d is PyTorch's nn.BatchNorm2d with its defaults: eps 1e-5,
// momentum 0.1, affine, running statistics with the unbiased variance.
//
// Tensors: weight (γ, starts at 1), bias (β, 0), running_mean (0),
// running_var (1), all [C], and num_batches_tracked, a scalar int64 that the
// graph never touches.
type BatchNorm2d struct {
	base
	channels int
	slots    []Slot
}

// BatchNorm2d's constants.
const (
	batchNormEps      = 1e-5
	batchNormMomentum = 0.1
)

// NewBatchNorm2d returns a batch normalisation of the given channels.
func NewBatchNorm2d(name string, channels int) *BatchNorm2d {
	n := &BatchNorm2d{base: base{name}, channels: channels}
	if n.check() != nil {
		return n
	}
	n.slots = []Slot{
		n.parameter("weight", Same, Constant(1), channels),
		n.parameter("bias", Same, Constant(0), channels),
		n.parameter("running_mean", Same, Constant(0), channels),
		n.parameter("running_var", Same, Constant(1), channels),
		{Variable: &engine.Variable{Name: name + ".num_batches_tracked", Spec: engine.Spec{DType: engine.Int64}}},
	}
	n.slots[2].Variable.Trainable = false
	n.slots[3].Variable.Trainable = false
	return n
}

func (n *BatchNorm2d) check() error {
	if n.channels < 1 {
		return fmt.Errorf("%s: %d channels: at least one is needed", n.name, n.channels)
	}
	return nil
}

// Slots implements Layer.
func (n *BatchNorm2d) Slots() []Slot { return n.slots }

// Forward implements Layer: [N,H,W,C] to the same.
func (n *BatchNorm2d) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	if err := n.check(); err != nil {
		b.Fail(err)
		return x
	}
	in := []*engine.Value{x}
	for _, s := range n.slots[:4] {
		in = append(in, b.Variable(s.Variable))
	}
	return n.one(b, engine.BatchNorm{Eps: batchNormEps, Momentum: batchNormMomentum, Train: train}, in...)
}
