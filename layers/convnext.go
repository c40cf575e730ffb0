package layers

import "fmt"

// buildConvNeXt returns the builder of torchvision's ConvNeXts (Liu et al.,
// arXiv:2201.03545) with stages of so many blocks. The widths are the stages'. In
// training a block is left out with a probability that rises to 0.1 in the last.
func buildConvNeXt(repeats ...int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		const drop = 0.1
		p := parts{NetBuilder: b, weights: NormalInit(0.02)}
		last, at := -1, 0
		for _, n := range repeats {
			last += n
		}
		in := a.Widths[0]
		x := b.Add("features.0.0", p.patches(a.InChannels, in, 4), Image)
		x = b.Add("features.0.1", convNeXtNorm(in), x)
		var blocks []string
		for i, out := range a.Widths {
			if i > 0 {
				name := fmt.Sprintf("features.%d", 2*i)
				x = b.Add(name+".0", convNeXtNorm(in), x)
				x = b.Add(name+".1", p.patches(in, out, 2), x)
				in = out
			}
			for k := range repeats[i] {
				name := fmt.Sprintf("features.%d.%d", 2*i+1, k)
				x = convNeXtBlock(p, name, x, out, drop*float64(at)/float64(last))
				blocks = append(blocks, name)
				at++
			}
		}
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		x = b.Add("classifier.0", convNeXtNorm(in), x)
		x = b.Add("classifier.2", linear(in, a.Classes, p.weights), x)
		b.scaleFirst(blocks)
		return x
	}
}

// patches is a convolution of windows that do not overlap.
func (p parts) patches(in, out, size int) Conv2d {
	c := p.inside(in, out, size, size)
	c.Bias, c.BiasInit = true, Zeros
	return c
}

func convNeXtNorm(channels int) LayerNorm2d { return LayerNorm2d{NumChannels: channels, Eps: 1e-6} }

// convNeXtBlock is x plus what a depthwise 7×7 convolution, a LayerNorm and two
// linear layers over the channels of each pixel make of it, the first four times
// as wide, times a factor for each channel that starts at 1e-6.
func convNeXtBlock(p parts, name, x string, channels int, drop float64) string {
	const wider, scale = 4, 1e-6
	depthwise := p.conv(channels, channels, 7, 1, channels)
	depthwise.Bias, depthwise.BiasInit = true, Zeros
	y := p.Add(name+".block.0", depthwise, x)
	y = p.Add(name+".block.2", convNeXtNorm(channels), y)
	y = p.Add(name+".block.3", p.pixelwise(channels, wider*channels), y)
	y = p.Add(name+".block.4", GELU{Approximate: "none"}, y)
	y = p.Add(name+".block.5", p.pixelwise(wider*channels, channels), y)
	y = p.Add(name+".layer_scale", ScaleShift{Channels: channels, Scale: true, Dims: 3, Start: scale}, y)
	p.Share("weight", name+".layer_scale")
	return p.added(name, y, x, drop)
}

// pixelwise is PyTorch's nn.Linear over the channels of each pixel.
func (p parts) pixelwise(in, out int) Conv2d {
	c := p.conv(in, out, 1, 1, 1)
	c.Bias, c.BiasInit, c.Dims = true, Zeros, 2
	return c
}

// scaleFirst gives the net the order of PyTorch's state_dict, in which a block's
// own parameter comes before those of the modules in it.
func (b *NetBuilder) scaleFirst(blocks []string) {
	before := make(map[string]string, len(blocks)) // the first module of a block: its scale
	scales := make(map[string]bool, len(blocks))
	for _, name := range blocks {
		before[name+".block.0"], scales[name+".layer_scale"] = name+".layer_scale", true
	}
	for i := range b.net.Modules {
		m := &b.net.Modules[i]
		if s, ok := before[m.Name]; ok {
			b.net.StateOrder = append(b.net.StateOrder, s)
		}
		if !scales[m.Name] && len(m.Kind.Params()) > 0 {
			b.net.StateOrder = append(b.net.StateOrder, m.Name)
		}
	}
}
