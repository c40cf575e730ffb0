package layers

import "fmt"

// buildDenseNet returns the builder of torchvision's DenseNets (Huang et al.,
// arXiv:1608.06993) with blocks of so many layers. At the base of 64 channels in
// the stem each layer adds 32.
func buildDenseNet(repeats ...int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		p := parts{NetBuilder: b, weights: KaimingNormalFanIn, norm: BatchNorm}
		c, growth := a.Base, scaled(32, a.Base, 64)
		x := b.Add("features.conv0", p.conv(a.InChannels, c, 7, 2, 1), Image)
		x = b.Add("features.norm0", p.norm(c), x)
		x = b.Add("features.relu0", ReLU{}, x)
		x = b.Add("features.pool0", MaxPool(3, 2, 1), x)
		for i, n := range repeats {
			for k := range n {
				x = denseLayer(p, fmt.Sprintf("features.denseblock%d.denselayer%d", i+1, k+1), x, c, growth)
				c += growth
			}
			if i < len(repeats)-1 {
				x = transition(p, fmt.Sprintf("features.transition%d", i+1), x, c)
				c = max(1, c/2)
			}
		}
		x = b.Add("features.norm5", p.norm(c), x)
		x = b.Add("relu", ReLU{}, x)
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		return b.Add("classifier", linear(c, a.Classes, ""), x)
	}
}

// denseLayer returns its input's channels and behind them growth new ones:
// conv2(relu(norm2(conv1(relu(norm1(x)))))), a pointwise convolution to four
// times the growth, and a 3×3 one.
func denseLayer(p parts, name, x string, in, growth int) string {
	const bottleneck = 4
	y := p.Add(name+".norm1", p.norm(in), x)
	y = p.Add(name+".relu1", ReLU{}, y)
	y = p.Add(name+".conv1", p.conv(in, bottleneck*growth, 1, 1, 1), y)
	y = p.Add(name+".norm2", p.norm(bottleneck*growth), y)
	y = p.Add(name+".relu2", ReLU{}, y)
	y = p.Add(name+".conv2", p.conv(bottleneck*growth, growth, 3, 1, 1), y)
	return p.Add(name+".concat", Concat{}, x, y)
}

// transition halves the channels and the image.
func transition(p parts, name, x string, in int) string {
	x = p.Add(name+".norm", p.norm(in), x)
	x = p.Add(name+".relu", ReLU{}, x)
	x = p.Add(name+".conv", p.conv(in, max(1, in/2), 1, 1, 1), x)
	return p.Add(name+".pool", AvgPool(2, 2, 0), x)
}
