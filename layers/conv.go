package layers

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

// Conv2dOptions are the settings of a Conv2d beyond its channels and kernel.
// Zero values are PyTorch's defaults: stride 1, no padding, dilation 1, one
// group, with a bias.
type Conv2dOptions struct {
	Stride, Padding, Dilation, Groups int
	NoBias                            bool
}

// Conv2d is PyTorch's nn.Conv2d with a square kernel and zero padding.
//
// Tensors: weight [O,I/groups,K,K] and, unless NoBias, bias [O]. Both start
// uniform in ±1/√fan_in with fan_in = I/groups·K², PyTorch's default
// (kaiming_uniform with a = √5).
type Conv2d struct {
	base
	in, out, kernel int
	opt             Conv2dOptions
	weight, bias    Slot
}

// NewConv2d returns a convolution from in to out channels with a kernel×kernel
// window. Settings that do not fit together are reported by Compose and Forward.
func NewConv2d(name string, in, out, kernel int, o Conv2dOptions) *Conv2d {
	if o.Stride == 0 {
		o.Stride = 1
	}
	if o.Dilation == 0 {
		o.Dilation = 1
	}
	if o.Groups == 0 {
		o.Groups = 1
	}
	c := &Conv2d{base: base{name}, in: in, out: out, kernel: kernel, opt: o}
	if c.check() != nil {
		return c
	}
	fanIn := in / o.Groups * kernel * kernel
	init := Uniform(1 / math.Sqrt(float64(fanIn)))
	c.weight = c.parameter("weight", OIHW, init, kernel, kernel, in/o.Groups, out)
	if !o.NoBias {
		c.bias = c.parameter("bias", Same, init, out)
	}
	return c
}

func (c *Conv2d) check() error {
	o := c.opt
	switch {
	case c.in < 1 || c.out < 1 || c.kernel < 1:
		return fmt.Errorf("%s: %d to %d channels with a kernel of %d: all must be positive", c.name, c.in, c.out, c.kernel)
	case o.Stride < 1 || o.Dilation < 1 || o.Groups < 1 || o.Padding < 0:
		return fmt.Errorf("%s: stride %d, padding %d, dilation %d, groups %d: none may be negative", c.name, o.Stride, o.Padding, o.Dilation, o.Groups)
	case c.in%o.Groups != 0 || c.out%o.Groups != 0:
		return fmt.Errorf("%s: %d to %d channels do not divide into %d groups; choose widths that are multiples of %d", c.name, c.in, c.out, o.Groups, o.Groups)
	}
	return nil
}

// kaimingNormalFanOut makes the weight start normal with mean 0 and variance
// 2/(O·K²), torchvision's choice for ResNet (He et al., arXiv:1502.01852).
func (c *Conv2d) kaimingNormalFanOut() *Conv2d {
	c.weight.Init = Normal(math.Sqrt(2 / float64(c.out*c.kernel*c.kernel)))
	return c
}

// Slots implements Layer.
func (c *Conv2d) Slots() []Slot {
	switch {
	case c.weight.Variable == nil:
		return nil
	case c.opt.NoBias:
		return []Slot{c.weight}
	}
	return []Slot{c.weight, c.bias}
}

// Forward implements Layer: [N,H,W,I] to [N,OH,OW,O].
func (c *Conv2d) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	if err := c.check(); err != nil {
		b.Fail(err)
		return x
	}
	in := []*engine.Value{x, b.Variable(c.weight.Variable)}
	if !c.opt.NoBias {
		in = append(in, b.Variable(c.bias.Variable))
	}
	o := c.opt
	return c.one(b, engine.Conv2D{Stride: o.Stride, Pad: o.Padding, Dilation: o.Dilation, Groups: o.Groups}, in...)
}
