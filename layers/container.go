package layers

import "github.com/potstill/potstill/engine"

// Sequential is PyTorch's nn.Sequential: layers one behind the other. Its
// parts carry their whole names.
type Sequential struct {
	base
	parts []Layer
}

// NewSequential returns a sequence of layers.
func NewSequential(name string, parts ...Layer) *Sequential { return &Sequential{base{name}, parts} }

// Slots implements Layer.
func (s *Sequential) Slots() []Slot { return slots(s.parts) }

// Forward implements Layer.
func (s *Sequential) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	return s.trace(b, x, train, nil)
}

func (s *Sequential) children() []Layer { return s.parts }

func (s *Sequential) trace(b *engine.Builder, x *engine.Value, train bool, f func(Layer, *engine.Value)) *engine.Value {
	for _, l := range s.parts {
		x = trace(l, b, x, train, f)
	}
	return x
}

// BasicBlock is torchvision's residual block of ResNet-18 (He et al.,
// arXiv:1512.03385): y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).
// The shortcut is x itself, or a strided pointwise convolution with
// BatchNorm ("downsample") where stride or channels change.
type BasicBlock struct {
	base
	conv1, conv2 *Conv2d
	bn1, bn2     *BatchNorm2d
	relu         *ReLU
	downsample   *Sequential // nil: the identity
}

// NewBasicBlock returns a residual block of two 3×3 convolutions, the first
// with the given stride.
func NewBasicBlock(name string, in, out, stride int) *BasicBlock {
	conv := func(part string, in, out, kernel, stride int) *Conv2d {
		o := Conv2dOptions{Stride: stride, Padding: kernel / 2, NoBias: true}
		return NewConv2d(name+"."+part, in, out, kernel, o).kaimingNormalFanOut()
	}
	r := &BasicBlock{
		base:  base{name},
		conv1: conv("conv1", in, out, 3, stride),
		bn1:   NewBatchNorm2d(name+".bn1", out),
		relu:  NewReLU(name + ".relu"),
		conv2: conv("conv2", out, out, 3, 1),
		bn2:   NewBatchNorm2d(name+".bn2", out),
	}
	if stride != 1 || in != out {
		r.downsample = NewSequential(name+".downsample",
			conv("downsample.0", in, out, 1, stride),
			NewBatchNorm2d(name+".downsample.1", out))
	}
	return r
}

// Slots implements Layer.
func (r *BasicBlock) Slots() []Slot { return slots(r.children()) }

func (r *BasicBlock) children() []Layer {
	c := []Layer{r.conv1, r.bn1, r.relu, r.conv2, r.bn2}
	if r.downsample != nil {
		c = append(c, r.downsample)
	}
	return c
}

// Forward implements Layer: [N,H,W,I] to [N,⌈H/stride⌉,⌈W/stride⌉,O].
func (r *BasicBlock) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	return r.trace(b, x, train, nil)
}

func (r *BasicBlock) trace(b *engine.Builder, x *engine.Value, train bool, f func(Layer, *engine.Value)) *engine.Value {
	y := x
	for _, l := range []Layer{r.conv1, r.bn1, r.relu, r.conv2, r.bn2} {
		y = trace(l, b, y, train, f)
	}
	if r.downsample != nil {
		x = r.downsample.trace(b, x, train, f)
	}
	y = trace(r.relu, b, r.one(b, engine.Add{}, y, x), train, f)
	if f != nil {
		f(r, y)
	}
	return y
}
