package layers

import "fmt"

// buildVGG8 is RepDistiller's VGG for pictures of 32×32 pixels, with five
// convolutions of which the first three have a pooling behind them. Its
// definition pools behind the fourth, too, where images are 64 pixels high; this
// one does not, whatever the size. The widths are the convolutions'.
func buildVGG8(b *NetBuilder, a Arch) string {
	const pools = 3
	p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: BatchNorm}
	x, in := Image, a.InChannels
	for i, out := range a.Widths {
		c := p.conv(in, out, 3, 1, 1)
		c.Bias, c.BiasInit = true, Zeros
		x = p.normalized(fmt.Sprintf("block%d", i), 0, x, c)
		x = b.Add(fmt.Sprintf("relu%d", i), ReLU{}, x)
		if i < pools {
			x = b.Add(fmt.Sprintf("pool%d", i), MaxPool(2, 2, 0), x)
		}
		in = out
	}
	x = b.Add("pool4", AdaptiveAvgPool2d{}, x)
	return b.Add("classifier", linear(in, a.Classes, NormalInit(0.01)), x)
}

// buildVGG returns the builder of torchvision's VGGs (Simonyan and Zisserman,
// arXiv:1409.1556) of five stages of so many convolutions, each stage with a
// pooling behind it, and three linear layers, the first of which reads 7×7 pixels.
// The widths are those of the convolutions, and of the first two linear layers.
func buildVGG(norm bool, stages ...int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		const pixels = 7
		p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: BatchNorm}
		x, in, widths, at := Image, a.InChannels, a.Widths, 0
		add := func(k Kind) {
			x = b.Add(fmt.Sprintf("features.%d", at), k, x)
			at++
		}
		for _, n := range stages {
			for range n {
				c := p.conv(in, widths[0], 3, 1, 1)
				c.Bias, c.BiasInit = true, Zeros
				in, widths = widths[0], widths[1:]
				add(c)
				if norm {
					add(p.norm(in))
				}
				add(ReLU{})
			}
			add(MaxPool(2, 2, 0))
		}
		x = b.Add("avgpool", AdaptiveAvgPool2d{OutputSize: Both(pixels)}, x)
		x = b.Add("flatten", Flatten{}, x)
		in *= pixels * pixels
		for i, out := range widths {
			x = b.Add(fmt.Sprintf("classifier.%d", 3*i), linear(in, out, NormalInit(0.01)), x)
			x = b.Add(fmt.Sprintf("classifier.%d", 3*i+1), ReLU{}, x)
			x = b.Add(fmt.Sprintf("classifier.%d", 3*i+2), Dropout{P: 0.5}, x)
			in = out
		}
		return b.Add("classifier.6", linear(in, a.Classes, NormalInit(0.01)), x)
	}
}
