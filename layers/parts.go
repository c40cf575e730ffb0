package layers

import "fmt"

// parts are what the layers of a family have in common. A family's function
// makes its layers by it, so that it says once how they are normalized and how
// they start.
type parts struct {
	*NetBuilder
	weights string // the weight_init of convolutions
	norm    func(channels int) BatchNorm2d
	act     Kind
}

// conv is a convolution without a bias whose padding keeps the size of the
// image at stride 1.
func (p parts) conv(in, out, kernel, stride, groups int) Conv2d {
	return Conv2d{
		InChannels: in, OutChannels: out, KernelSize: Both(kernel), Stride: Both(stride), Padding: Around(kernel / 2),
		Dilation: Both(1), Groups: groups, WeightInit: p.weights,
	}
}

// normalized adds a convolution and its BatchNorm, modules first and first+1 of
// name, and returns the output.
func (p parts) normalized(name string, first int, x string, c Conv2d) string {
	x = p.Add(fmt.Sprintf("%s.%d", name, first), c, x)
	return p.Add(fmt.Sprintf("%s.%d", name, first+1), p.norm(c.OutChannels), x)
}

// activated is normalized with the activation behind it: three modules.
func (p parts) activated(name string, first int, x string, c Conv2d) string {
	return p.Add(fmt.Sprintf("%s.%d", name, first+2), p.act, p.normalized(name, first, x, c))
}

// named adds a convolution and its BatchNorm under names of their own, and the
// activation if asked for.
func (p parts) named(prefix, conv, norm, x string, c Conv2d, act bool) string {
	x = p.Add(prefix+conv, c, x)
	x = p.Add(prefix+norm, p.norm(c.OutChannels), x)
	if act {
		x = p.Add(prefix+conv+"_act", p.act, x)
	}
	return x
}

// same pads a convolution as TensorFlow's SAME does for images whose size the
// stride divides: kernel-stride rows and columns in all, the odd one at the
// bottom and the right.
func same(c Conv2d) Conv2d {
	h, w := max(0, c.KernelSize[0]-c.Stride[0]), max(0, c.KernelSize[1]-c.Stride[1])
	c.Padding = Pads{h / 2, w / 2, h - h/2, w - w/2}
	return c
}

// excited is squeeze and excitation (Hu et al., arXiv:1709.01507): y is x times a
// factor for each channel, which gate(fc2(act(fc1(mean(x))))) makes of the means
// over the image, by way of so many squeezed channels.
func (p parts) excited(name, x string, channels, squeezed int, act, gate Kind, bias string) string {
	fc1, fc2 := p.conv(channels, squeezed, 1, 1, 1), p.conv(squeezed, channels, 1, 1, 1)
	fc1.Bias, fc1.BiasInit, fc2.Bias, fc2.BiasInit = true, bias, true, bias
	y := p.Add(name+".avgpool", AdaptiveAvgPool2d{KeepDims: true}, x)
	y = p.Add(name+".fc1", fc1, y)
	y = p.Add(name+".activation", act, y)
	y = p.Add(name+".fc2", fc2, y)
	y = p.Add(name+".scale_activation", gate, y)
	return p.Add(name+".mul", Mul{}, x, y)
}

// added is y + x, where y is left out in training with probability drop.
func (p parts) added(name, y, x string, drop float64) string {
	if drop > 0 {
		y = p.Add(name+".stochastic_depth", StochasticDepth{P: drop}, y)
	}
	return p.Add(name+".add", Add{}, y, x)
}

// linear is a layer whose weight starts as said, its bias at 0.
func linear(in, out int, weights string) Linear {
	return Linear{InFeatures: in, OutFeatures: out, Bias: true, WeightInit: weights, BiasInit: Zeros}
}

// normOf returns a rule for batch norms other than PyTorch's.
func normOf(eps, momentum float64) func(channels int) BatchNorm2d {
	return func(channels int) BatchNorm2d {
		return BatchNorm2d{NumFeatures: channels, Eps: eps, Momentum: momentum}
	}
}

// scaled returns channels·base/own to the nearest, but at least 1.
func scaled(channels, base, own int) int {
	return max(1, (2*channels*base+own)/(2*own))
}

// divisible returns v rounded to a multiple of 8, to the nearest but not by more
// than a tenth downward, and at least 8: torchvision's rule for the widths of
// the MobileNets and of EfficientNet.
func divisible(v float64) int {
	const by = 8
	n := max(by, int(v+by/2)/by*by)
	if float64(n) < 0.9*v {
		n += by
	}
	return n
}

// times returns channels·base/own as the argument of divisible.
func times(channels, base, own int) float64 {
	return float64(channels) * (float64(base) / float64(own))
}
