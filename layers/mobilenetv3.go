package layers

import "fmt"

// A mobileBlock is a block of MobileNet V3: its kernel, its channels inside and
// out, whether it has squeeze and excitation, whether its activation is Hardswish
// instead of ReLU, and its stride.
type mobileBlock struct {
	kernel, inside, out int
	squeeze, hard       bool
	stride              int
}

// mobileNetV3Large and mobileNetV3Small are the blocks of tables 1 and 2 of
// arXiv:1905.02244.
var (
	mobileNetV3Large = []mobileBlock{
		{3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
		{5, 72, 40, true, false, 2}, {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
		{3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1}, {3, 184, 80, false, true, 1},
		{3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
		{5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1},
	}
	mobileNetV3Small = []mobileBlock{
		{3, 16, 16, true, false, 2}, {3, 72, 24, false, false, 2}, {3, 88, 24, false, false, 1},
		{5, 96, 40, true, true, 2}, {5, 240, 40, true, true, 1}, {5, 240, 40, true, true, 1},
		{5, 120, 48, true, true, 1}, {5, 144, 48, true, true, 1},
		{5, 288, 96, true, true, 2}, {5, 576, 96, true, true, 1}, {5, 576, 96, true, true, 1},
	}
)

// buildMobileNetV3 returns the builder of torchvision's MobileNet V3 (Howard et
// al., arXiv:1905.02244) of these blocks, with so many channels before the last
// layer. Base over 16 is its width_mult: widths are rounded to multiples of 8.
func buildMobileNetV3(blocks []mobileBlock, hidden int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		const own, widen = 16, 6
		p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: normOf(1e-3, 0.01), act: Hardswish{}}
		w := func(channels int) int { return divisible(times(channels, a.Base, own)) }
		in := w(own)
		x := p.activated("features.0", 0, Image, p.conv(a.InChannels, in, 3, 2, 1))
		for i, k := range blocks {
			k.inside, k.out = w(k.inside), w(k.out)
			x = invertedV3(p, fmt.Sprintf("features.%d", i+1), x, in, k)
			in = k.out
		}
		last, hidden := widen*in, w(hidden)
		x = p.activated(fmt.Sprintf("features.%d", len(blocks)+1), 0, x, p.conv(in, last, 1, 1, 1))
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		x = b.Add("classifier.0", linear(last, hidden, NormalInit(0.01)), x)
		x = b.Add("classifier.1", Hardswish{}, x)
		x = b.Add("classifier.2", Dropout{P: 0.2}, x)
		return b.Add("classifier.3", linear(hidden, a.Classes, NormalInit(0.01)), x)
	}
}

// invertedV3 is a block: a pointwise convolution that widens (left out where it
// would not), a depthwise one, squeeze and excitation to a quarter of the channels
// inside, and a pointwise one with nothing behind its BatchNorm; x is added where
// it has the output's shape.
func invertedV3(p parts, name, x string, in int, k mobileBlock) string {
	if !k.hard {
		p.act = ReLU{}
	}
	y, at := x, 0
	next := func() string {
		at++
		return fmt.Sprintf("%s.block.%d", name, at-1)
	}
	if k.inside != in {
		y = p.activated(next(), 0, y, p.conv(in, k.inside, 1, 1, 1))
	}
	y = p.activated(next(), 0, y, p.conv(k.inside, k.inside, k.kernel, k.stride, k.inside))
	if k.squeeze {
		gate := Hardsigmoid{Alpha: 1. / 6, Beta: 0.5}
		y = p.excited(next(), y, k.inside, divisible(float64(k.inside/4)), ReLU{}, gate, Zeros)
	}
	y = p.normalized(next(), 0, y, p.conv(k.inside, k.out, 1, 1, 1))
	if k.stride == 1 && in == k.out {
		return p.added(name, y, x, 0)
	}
	return y
}
