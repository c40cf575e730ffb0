package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// ReLU is PyTorch's nn.ReLU: max(x, 0).
type ReLU struct{ base }

// NewReLU returns a ReLU.
func NewReLU(name string) *ReLU { return &ReLU{base{name}} }

// Forward implements Layer.
func (l *ReLU) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	return l.one(b, engine.Activation{F: engine.ReLU}, x)
}

// ReLU6 is PyTorch's nn.ReLU6: min(max(x, 0), 6).
type ReLU6 struct{ base }

// NewReLU6 returns a ReLU6.
func NewReLU6(name string) *ReLU6 { return &ReLU6{base{name}} }

// Forward implements Layer.
func (l *ReLU6) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	return l.one(b, engine.Activation{F: engine.ReLU6}, x)
}

// MaxPool2d is PyTorch's nn.MaxPool2d.
type MaxPool2d struct {
	base
	window engine.Window
}

// NewMaxPool2d returns a max pooling over the window.
func NewMaxPool2d(name string, w engine.Window) *MaxPool2d { return &MaxPool2d{base{name}, w} }

// Forward implements Layer: [N,H,W,C] to [N,OH,OW,C].
func (l *MaxPool2d) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	return l.one(b, engine.MaxPool2D{Window: l.window}, x)
}

// AvgPool2d is PyTorch's nn.AvgPool2d; padding counts in the mean.
type AvgPool2d struct {
	base
	window engine.Window
}

// NewAvgPool2d returns an average pooling over the window.
func NewAvgPool2d(name string, w engine.Window) *AvgPool2d { return &AvgPool2d{base{name}, w} }

// Forward implements Layer: [N,H,W,C] to [N,OH,OW,C].
func (l *AvgPool2d) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	return l.one(b, engine.AvgPool2D{Window: l.window}, x)
}

// AdaptiveAvgPool2d is PyTorch's nn.AdaptiveAvgPool2d((1, 1)): the mean over
// the whole image. Its output is [N,C], already flat.
type AdaptiveAvgPool2d struct{ base }

// NewAdaptiveAvgPool2d returns a global average pooling.
func NewAdaptiveAvgPool2d(name string) *AdaptiveAvgPool2d { return &AdaptiveAvgPool2d{base{name}} }

// Forward implements Layer: [N,H,W,C] to [N,C].
func (l *AdaptiveAvgPool2d) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	return l.one(b, engine.GlobalAvgPool{}, x)
}

// Flatten is PyTorch's nn.Flatten: [N,H,W,C] to [N,C·H·W] in PyTorch's order.
// What is already [N,C] passes.
type Flatten struct{ base }

// NewFlatten returns a flattening layer.
func NewFlatten(name string) *Flatten { return &Flatten{base{name}} }

// Forward implements Layer.
func (l *Flatten) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	if len(x.Shape) != 4 {
		return x
	}
	return l.one(b, engine.Flatten{}, x)
}

// Dropout is PyTorch's nn.Dropout: in training each element is zeroed with
// probability P and the others are divided by 1-P; in evaluation x passes.
//
// Its random numbers are those of DropoutCounter, an input of the graph.
type Dropout struct {
	base
	p      float32
	stream uint32
}

// NewDropout returns a dropout with probability p in [0, 1). Dropouts of one
// net are told apart by stream.
func NewDropout(name string, p float32, stream uint32) *Dropout {
	return &Dropout{base{name}, p, stream}
}

func (l *Dropout) check() error {
	if !(l.p >= 0 && l.p < 1) {
		return fmt.Errorf("%s: a dropout probability of %v is not in [0, 1)", l.name, l.p)
	}
	return nil
}

// Forward implements Layer.
func (l *Dropout) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	if err := l.check(); err != nil {
		b.Fail(err)
		return x
	}
	if !train || l.p == 0 {
		return x
	}
	return l.one(b, engine.Dropout{P: l.p, Stream: l.stream}, x, DropoutCounter(b))
}

// DropoutCounter returns the graph's input of spec engine.DropoutCounter, and
// declares it if no dropout of the graph has done so yet. Whoever runs the
// graph binds it to the two halves of the seed and of the step's number. It is
// recognised by its spec, which no other input may have.
func DropoutCounter(b *engine.Builder) *engine.Value {
	for _, v := range b.Graph().Inputs() {
		if v.Equal(engine.DropoutCounter) {
			return v
		}
	}
	return b.Input("dropout counter", engine.DropoutCounter)
}
