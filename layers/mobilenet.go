package layers

import "fmt"

// mobileStrides2 are the blocks of MobileNet that halve the image, by number.
var mobileStrides2 = map[int]bool{1: true, 3: true, 5: true, 11: true}

// buildMobileNetV1 is MobileNet (Howard et al., arXiv:1704.04861) with the names
// of the PyTorch definition that is in use for distillation: model.0 a 3×3
// convolution of stride 2, model.1 to model.13 a depthwise and a pointwise
// convolution each, every convolution with BatchNorm and ReLU, and fc. The
// widths are those of the first and of the pointwise convolutions; Base over 32
// is the width multiplier.
func buildMobileNetV1(b *NetBuilder, a Arch) string {
	p := parts{NetBuilder: b, norm: BatchNorm, act: ReLU{}}
	w := a.Widths
	x := p.activated("model.0", 0, Image, p.conv(a.InChannels, w[0], 3, 2, 1))
	for i, out := range w[1:] {
		name, stride := fmt.Sprintf("model.%d", i+1), 1
		if mobileStrides2[i] {
			stride = 2
		}
		x = p.activated(name, 0, x, p.conv(w[i], w[i], 3, stride, w[i]))
		x = p.activated(name, 3, x, p.conv(w[i], out, 1, 1, 1))
	}
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", Linear{InFeatures: w[len(w)-1], OutFeatures: a.Classes, Bias: true}, x)
}

// An inverted describes a stage of inverted residual blocks: the factor by which
// they are wider inside, their kernel, output channels, number, and the stride of
// the first.
type inverted struct{ expand, kernel, channels, repeats, stride int }

// mobileNetV2 are the stages of MobileNet V2, table 2 of arXiv:1801.04381.
var mobileNetV2 = []inverted{
	{1, 3, 16, 1, 1}, {6, 3, 24, 2, 2}, {6, 3, 32, 3, 2}, {6, 3, 64, 4, 2}, {6, 3, 96, 3, 1}, {6, 3, 160, 3, 2}, {6, 3, 320, 1, 1},
}

// buildMobileNetV2 is torchvision's MobileNet V2 (Sandler et al.,
// arXiv:1801.04381). Base over 32 is its width_mult: widths are rounded to
// multiples of 8, and the last convolution has no less than 1,280 channels.
func buildMobileNetV2(b *NetBuilder, a Arch) string {
	const own, lastChannels = 32, 1280
	p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: BatchNorm, act: ReLU6{}}
	in := divisible(times(own, a.Base, own))
	x := p.activated("features.0", 0, Image, p.conv(a.InChannels, in, 3, 2, 1))
	at := 1
	for _, s := range mobileNetV2 {
		out := divisible(times(s.channels, a.Base, own))
		for k := range s.repeats {
			stride := 1
			if k == 0 {
				stride = s.stride
			}
			x = invertedV2(p, fmt.Sprintf("features.%d", at), x, in, out, stride, s.expand)
			in = out
			at++
		}
	}
	last := divisible(max(lastChannels, times(lastChannels, a.Base, own)))
	x = p.activated(fmt.Sprintf("features.%d", at), 0, x, p.conv(in, last, 1, 1, 1))
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	x = b.Add("classifier.0", Dropout{P: 0.2}, x)
	return b.Add("classifier.1", linear(last, a.Classes, NormalInit(0.01)), x)
}

// invertedV2 is a block of MobileNet V2: a pointwise convolution that widens
// (left out where it would not), a depthwise 3×3 one, and a pointwise one with
// nothing behind its BatchNorm; x is added where it has the output's shape.
func invertedV2(p parts, name, x string, in, out, stride, expand int) string {
	y, inner, at := x, in*expand, 0
	if expand != 1 {
		y = p.activated(name+".conv.0", 0, y, p.conv(in, inner, 1, 1, 1))
		at = 1
	}
	y = p.activated(fmt.Sprintf("%s.conv.%d", name, at), 0, y, p.conv(inner, inner, 3, stride, inner))
	y = p.normalized(name+".conv", at+1, y, p.conv(inner, out, 1, 1, 1))
	if stride == 1 && in == out {
		return p.Add(name+".add", Add{}, y, x)
	}
	return y
}

// mnasNet are the stages of MNASNet-B1, figure 7 of arXiv:1807.11626.
var mnasNet = []inverted{
	{3, 3, 24, 3, 2}, {3, 5, 40, 3, 2}, {6, 5, 80, 3, 2}, {6, 3, 96, 2, 1}, {6, 5, 192, 4, 2}, {6, 3, 320, 1, 1},
}

// buildMNASNet is torchvision's MNASNet (Tan et al., arXiv:1807.11626). Base over
// 32 is its alpha: widths are rounded to multiples of 8, but for the 1,280
// channels of the last convolution.
func buildMNASNet(b *NetBuilder, a Arch) string {
	const own, lastChannels = 32, 1280
	const momentum = 0.0003 // TensorFlow keeps 0.9997 of the old
	p := parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: normOf(1e-5, momentum), act: ReLU{}}
	in, first := divisible(times(own, a.Base, own)), divisible(times(16, a.Base, own))
	x := p.activated("layers", 0, Image, p.conv(a.InChannels, in, 3, 2, 1))
	x = p.activated("layers", 3, x, p.conv(in, in, 3, 1, in))
	x = p.normalized("layers", 6, x, p.conv(in, first, 1, 1, 1))
	in = first
	at := 8
	for _, s := range mnasNet {
		out := divisible(times(s.channels, a.Base, own))
		for k := range s.repeats {
			name, stride := fmt.Sprintf("layers.%d.%d", at, k), 1
			if k == 0 {
				stride = s.stride
			}
			y := p.activated(name+".layers", 0, x, p.conv(in, in*s.expand, 1, 1, 1))
			y = p.activated(name+".layers", 3, y, p.conv(in*s.expand, in*s.expand, s.kernel, stride, in*s.expand))
			y = p.normalized(name+".layers", 6, y, p.conv(in*s.expand, out, 1, 1, 1))
			if stride == 1 && in == out {
				y = p.Add(name+".add", Add{}, y, x)
			}
			x, in = y, out
		}
		at++
	}
	x = p.activated("layers", at, x, p.conv(in, lastChannels, 1, 1, 1))
	x = b.Add("mean", AdaptiveAvgPool2d{}, x)
	x = b.Add("classifier.0", Dropout{P: 0.2}, x)
	return b.Add("classifier.1", linear(lastChannels, a.Classes, KaimingUniformFanOutSigmoid), x)
}
