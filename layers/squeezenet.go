package layers

import "fmt"

// A fire is a module of SqueezeNet: the channels of the pointwise convolution
// that squeezes, and of each of the two that expand.
type fire struct{ squeeze, expand int }

// squeezeNet are the modules of SqueezeNet 1.1 that follow the first convolution.
// A pooling is in the place of a module of no channels.
var squeezeNet = []fire{{}, {16, 64}, {16, 64}, {}, {32, 128}, {32, 128}, {}, {48, 192}, {48, 192}, {64, 256}, {64, 256}}

// buildSqueezeNet is torchvision's SqueezeNet 1.1 (Iandola et al.,
// arXiv:1602.07360). The classes are the channels of its last convolution.
func buildSqueezeNet(b *NetBuilder, a Arch) string {
	const own = 64
	p := parts{NetBuilder: b, weights: KaimingUniformFanIn}
	w := func(channels int) int { return scaled(channels, a.Base, own) }
	biased := func(c Conv2d) Conv2d {
		c.Bias, c.BiasInit = true, Zeros
		return c
	}
	x := b.Add("features.0", biased(p.inside(a.InChannels, w(64), 3, 2)), Image)
	x = b.Add("features.1", ReLU{}, x)
	in := w(64)
	for i, f := range squeezeNet {
		name := fmt.Sprintf("features.%d", i+2)
		if f.squeeze == 0 {
			x = b.Add(name, MaxPool2d{KernelSize: Both(3), Stride: Both(2), CeilMode: true}, x)
			continue
		}
		x = b.Add(name+".squeeze", biased(p.conv(in, w(f.squeeze), 1, 1, 1)), x)
		x = b.Add(name+".squeeze_activation", ReLU{}, x)
		one := b.Add(name+".expand1x1", biased(p.conv(w(f.squeeze), w(f.expand), 1, 1, 1)), x)
		one = b.Add(name+".expand1x1_activation", ReLU{}, one)
		three := b.Add(name+".expand3x3", biased(p.conv(w(f.squeeze), w(f.expand), 3, 1, 1)), x)
		three = b.Add(name+".expand3x3_activation", ReLU{}, three)
		x = b.Add(name+".concat", Concat{}, one, three)
		in = 2 * w(f.expand)
	}
	x = b.Add("classifier.0", Dropout{P: 0.5}, x)
	last := biased(p.conv(in, a.Classes, 1, 1, 1))
	last.WeightInit = NormalInit(0.01)
	x = b.Add("classifier.1", last, x)
	x = b.Add("classifier.2", ReLU{}, x)
	return b.Add("classifier.3", AdaptiveAvgPool2d{}, x)
}
