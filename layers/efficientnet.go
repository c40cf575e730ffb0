package layers

import (
	"fmt"
	"math"
)

// efficientNet are the stages of EfficientNet-B0, table 1 of arXiv:1905.11946.
var efficientNet = []inverted{
	{1, 3, 16, 1, 1}, {6, 3, 24, 2, 2}, {6, 5, 40, 2, 2}, {6, 3, 80, 3, 2}, {6, 5, 112, 3, 1}, {6, 5, 192, 4, 2}, {6, 3, 320, 1, 1},
}

// efficientNetDrop is up to how likely a block of EfficientNet is left out in
// training: in the first never, in the others linearly more often.
const efficientNetDrop = 0.2

// buildEfficientNet returns the builder of torchvision's EfficientNet-B0 and of
// the one that is so many times as deep (Tan and Le, arXiv:1905.11946). Base over
// 32 is its width_mult: widths are rounded to multiples of 8.
func buildEfficientNet(depth float64) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		const own, widen = 32, 4
		p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: BatchNorm, act: SiLU{}}
		repeats, blocks := make([]int, len(efficientNet)), 0
		for i, s := range efficientNet {
			repeats[i] = int(math.Ceil(float64(s.repeats) * depth))
			blocks += repeats[i]
		}
		in := divisible(times(own, a.Base, own))
		x := p.activated("features.0", 0, Image, p.conv(a.InChannels, in, 3, 2, 1))
		at := 0
		for i, s := range efficientNet {
			s.channels = divisible(times(s.channels, a.Base, own))
			for k := range repeats[i] {
				if k > 0 {
					s.stride = 1
				}
				drop := efficientNetDrop * float64(at) / float64(blocks)
				x = mbConv(p, fmt.Sprintf("features.%d.%d", i+1, k), x, in, s, drop)
				in = s.channels
				at++
			}
		}
		x = p.activated(fmt.Sprintf("features.%d", len(efficientNet)+1), 0, x, p.conv(in, widen*in, 1, 1, 1))
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		x = b.Add("classifier.0", Dropout{P: 0.2}, x)
		return b.Add("classifier.1", linear(widen*in, a.Classes, UniformFanOut), x)
	}
}

// mbConv is a block of EfficientNet: a pointwise convolution that widens (left
// out where it would not), a depthwise one, squeeze and excitation to a quarter
// of the block's input, and a pointwise one with nothing behind its BatchNorm. x
// is added where it has the output's shape; then the block is left out in
// training with probability drop.
func mbConv(p parts, name, x string, in int, s inverted, drop float64) string {
	y, inner, at := x, divisible(float64(in*s.expand)), 0
	next := func() string {
		at++
		return fmt.Sprintf("%s.block.%d", name, at-1)
	}
	if inner != in {
		y = p.activated(next(), 0, y, p.conv(in, inner, 1, 1, 1))
	}
	y = p.activated(next(), 0, y, p.conv(inner, inner, s.kernel, s.stride, inner))
	y = p.excited(next(), y, inner, max(1, in/4), p.act, Sigmoid{}, Zeros)
	y = p.normalized(next(), 0, y, p.conv(inner, s.channels, 1, 1, 1))
	if s.stride != 1 || in != s.channels {
		return y
	}
	return p.added(name, y, x, drop)
}

// buildEfficientNetLite0 is EfficientNet-Lite0, EfficientNet-B0 without squeeze
// and excitation and with ReLU6, with the names of efficientnet_lite_pytorch. It
// is padded as TensorFlow pads images of an even size: at stride 2 less at the
// top and the left.
func buildEfficientNetLite0(b *NetBuilder, a Arch) string {
	const own, lastChannels, blocks = 32, 1280, 16
	p := parts{NetBuilder: b, norm: normOf(1e-3, 0.01), act: ReLU6{}}
	in, last := divisible(times(own, a.Base, own)), divisible(times(lastChannels, a.Base, own))
	x := p.named("", "_conv_stem", "_bn0", Image, same(p.conv(a.InChannels, in, 3, 2, 1)), true)
	at := 0
	for _, s := range efficientNet {
		out := divisible(times(s.channels, a.Base, own))
		for k := range s.repeats {
			name, stride, inner := fmt.Sprintf("_blocks.%d.", at), 1, in*s.expand
			if k == 0 {
				stride = s.stride
			}
			y := x
			if s.expand > 1 {
				y = p.named(name, "_expand_conv", "_bn0", y, p.conv(in, inner, 1, 1, 1), true)
			}
			y = p.named(name, "_depthwise_conv", "_bn1", y, same(p.conv(inner, inner, s.kernel, stride, inner)), true)
			y = p.named(name, "_project_conv", "_bn2", y, p.conv(inner, out, 1, 1, 1), false)
			if stride == 1 && in == out {
				y = p.added(fmt.Sprintf("_blocks.%d", at), y, x, efficientNetDrop*float64(at)/blocks)
			}
			x, in = y, out
			at++
		}
	}
	x = p.named("", "_conv_head", "_bn1", x, p.conv(in, last, 1, 1, 1), true)
	x = b.Add("_avg_pooling", AdaptiveAvgPool2d{}, x)
	x = b.Add("_dropout", Dropout{P: 0.2}, x)
	return b.Add("_fc", Linear{InFeatures: last, OutFeatures: a.Classes, Bias: true}, x)
}
