package layers

import "fmt"

// A googLeNetBlock is a block of GoogLeNet: the channels of its 1×1 branch, of
// the two 3×3 branches with those before them, and of the one behind a pooling.
type googLeNetBlock struct {
	name                                       string
	one, reduce3, three, reduce5, five, pooled int
}

// googLeNet are the blocks of table 1 of arXiv:1409.4842.
var googLeNet = []googLeNetBlock{
	{"3a", 64, 96, 128, 16, 32, 32}, {"3b", 128, 128, 192, 32, 96, 64},
	{"4a", 192, 96, 208, 16, 48, 64}, {"4b", 160, 112, 224, 24, 64, 64}, {"4c", 128, 128, 256, 24, 64, 64},
	{"4d", 112, 144, 288, 32, 64, 64}, {"4e", 256, 160, 320, 32, 128, 128},
	{"5a", 256, 160, 320, 32, 128, 128}, {"5b", 384, 192, 384, 48, 128, 128},
}

// buildGoogLeNet is torchvision's GoogLeNet (Szegedy et al., arXiv:1409.4842)
// with BatchNorm and without its auxiliary heads. As there, the branch that the
// paper gives a 5×5 kernel has a 3×3 one.
func buildGoogLeNet(b *NetBuilder, a Arch) string {
	const own = 64
	p := inceptionParts(b, 0.01)
	w := func(channels int) int { return scaled(channels, a.Base, own) }
	half := func(kernel int) MaxPool2d {
		return MaxPool2d{KernelSize: Both(kernel), Stride: Both(2), CeilMode: true}
	}
	x := p.basic("conv1", Image, p.conv(a.InChannels, w(64), 7, 2, 1))
	x = b.Add("maxpool1", half(3), x)
	x = p.basic("conv2", x, p.conv(w(64), w(64), 1, 1, 1))
	x = p.basic("conv3", x, p.conv(w(64), w(192), 3, 1, 1))
	x = b.Add("maxpool2", half(3), x)
	in := w(192)
	for i, k := range googLeNet {
		if i > 0 && k.name[1] == 'a' {
			kernel := 3
			if k.name[0] == '5' {
				kernel = 2
			}
			x = b.Add(fmt.Sprintf("maxpool%c", k.name[0]-1), half(kernel), x)
		}
		name := "inception" + k.name
		one := p.basic(name+".branch1", x, p.conv(in, w(k.one), 1, 1, 1))
		three := p.basic(name+".branch2.0", x, p.conv(in, w(k.reduce3), 1, 1, 1))
		three = p.basic(name+".branch2.1", three, p.conv(w(k.reduce3), w(k.three), 3, 1, 1))
		five := p.basic(name+".branch3.0", x, p.conv(in, w(k.reduce5), 1, 1, 1))
		five = p.basic(name+".branch3.1", five, p.conv(w(k.reduce5), w(k.five), 3, 1, 1))
		pooled := b.Add(name+".branch4.0", MaxPool2d{KernelSize: Both(3), Stride: Both(1), Padding: Around(1), CeilMode: true}, x)
		pooled = p.basic(name+".branch4.1", pooled, p.conv(in, w(k.pooled), 1, 1, 1))
		x = b.Add(name+".concat", Concat{}, one, three, five, pooled)
		in = w(k.one) + w(k.three) + w(k.five) + w(k.pooled)
	}
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	x = b.Add("dropout", Dropout{P: 0.2}, x)
	return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true, WeightInit: p.weights}, x)
}
