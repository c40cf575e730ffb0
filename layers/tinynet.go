package layers

import "fmt"

// buildTinyResNet8 is the ResNet-8 of MLPerf Tiny's image classification
// (arXiv:2106.07597) as Keras computes it: at stride 2 it pads at the bottom and
// the right alone. It wants pixels from 0 to 255. The widths are the stages', the
// first of which is the first convolution's too.
func buildTinyResNet8(b *NetBuilder, a Arch) string {
	p := parts{NetBuilder: b, weights: HeNormal, norm: normOf(1e-3, 0.01), act: ReLU{}}
	conv := func(in, out, kernel, stride int) Conv2d {
		c := same(p.conv(in, out, kernel, stride, 1))
		c.Bias, c.BiasInit = true, Zeros
		return c
	}
	in := a.Widths[0]
	x := p.named("", "conv1", "bn1", Image, conv(a.InChannels, in, 3, 1), true)
	for i, out := range a.Widths {
		name, stride, side := fmt.Sprintf("block%d", i+1), 1, x
		if i > 0 {
			stride = 2
		}
		y := p.named(name+".", "conv1", "bn1", x, conv(in, out, 3, stride), true)
		y = p.named(name+".", "conv2", "bn2", y, conv(out, out, 3, 1), false)
		if stride > 1 {
			side = b.Add(name+".shortcut", conv(in, out, 1, stride), x)
		}
		y = b.Add(name+".add", Add{}, y, side)
		x, in = b.Add(name+".relu", ReLU{}, y), out
	}
	x = b.Add("pool", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", linear(in, a.Classes, HeNormal), x)
}

// buildTinyResNet8Torch is the port of that net to PyTorch which comes with the
// benchmark. It pads on all sides, and so is another net.
func buildTinyResNet8Torch(b *NetBuilder, a Arch) string {
	p := parts{NetBuilder: b, norm: BatchNorm, act: ReLU{}}
	conv := func(in, out, kernel, stride int) Conv2d {
		c := p.conv(in, out, kernel, stride, 1)
		c.Bias = true
		return c
	}
	in := a.Widths[0]
	x := p.activated("stem", 0, Image, conv(a.InChannels, in, 3, 1))
	for i, name := range []string{"first_stack", "second_stack", "third_stack"} {
		out, stride, side := a.Widths[i], 1, x
		if i > 0 {
			stride = 2
		}
		y := p.activated(name+".block", 0, x, conv(in, out, 3, stride))
		y = p.normalized(name+".block", 3, y, conv(out, out, 3, 1))
		if stride > 1 {
			side = b.Add(name+".residual", conv(in, out, 1, stride), x)
		}
		y = b.Add(name+".add", Add{}, y, side)
		x, in = b.Add(name+".relu", ReLU{}, y), out
	}
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true}, x)
}
