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
			x = b.Add(fmt.Sprintf("pool%d", i), MaxPool2d{KernelSize: 2, Stride: 2}, x)
		}
		in = out
	}
	x = b.Add("pool4", AdaptiveAvgPool2d{}, x)
	return b.Add("classifier", linear(in, a.Classes, NormalInit(0.01)), x)
}
