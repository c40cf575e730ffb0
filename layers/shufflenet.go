package layers

import "fmt"

// shuffleRepeats is how many units each stage of ShuffleNet V2 has.
var shuffleRepeats = [...]int{4, 8, 4}

// buildShuffleNetV2 is torchvision's ShuffleNet V2 (Ma et al.,
// arXiv:1807.11164). Its widths are those of the stem, of the three stages, and
// of the last convolution.
func buildShuffleNetV2(b *NetBuilder, a Arch) string {
	p, w := parts{NetBuilder: b, norm: BatchNorm, act: ReLU{}}, a.Widths
	x := p.activated("conv1", 0, Image, p.conv(a.InChannels, w[0], 3, 2, 1))
	x = b.Add("maxpool", MaxPool(3, 2, 1), x)
	in := w[0]
	for i, repeats := range shuffleRepeats {
		out := w[1+i]
		x = shuffleDown(p, fmt.Sprintf("stage%d.0", i+2), x, in, out)
		for k := 1; k < repeats; k++ {
			x = shuffleUnit(p, fmt.Sprintf("stage%d.%d", i+2, k), x, out)
		}
		in = out
	}
	x = p.activated("conv5", 0, x, p.conv(in, w[4], 1, 1, 1))
	x = b.Add("mean", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", Linear{InFeatures: w[4], OutFeatures: a.Classes, Bias: true}, x)
}

// shuffleBranch is the branch that both units have, from in to out channels: a
// pointwise convolution, a depthwise one of the given stride, and a pointwise.
func shuffleBranch(p parts, name, x string, in, out, stride int) string {
	x = p.activated(name, 0, x, p.conv(in, out, 1, 1, 1))
	x = p.normalized(name, 3, x, p.conv(out, out, 3, stride, out))
	return p.activated(name, 5, x, p.conv(out, out, 1, 1, 1))
}

// shuffleDown is the unit that halves the image: two branches that each make
// half of the channels.
func shuffleDown(p parts, name, x string, in, out int) string {
	left := p.normalized(name+".branch1", 0, x, p.conv(in, in, 3, 2, in))
	left = p.activated(name+".branch1", 2, left, p.conv(in, out/2, 1, 1, 1))
	right := shuffleBranch(p, name+".branch2", x, in, out/2, 2)
	return shuffleJoin(p, name, left, right)
}

// shuffleUnit lets half of the channels through as they are.
func shuffleUnit(p parts, name, x string, channels int) string {
	left := p.Add(name+".left", Slice{Start: 0, End: channels / 2}, x)
	right := p.Add(name+".right", Slice{Start: channels / 2, End: channels}, x)
	return shuffleJoin(p, name, left, shuffleBranch(p, name+".branch2", right, channels/2, channels/2, 1))
}

func shuffleJoin(p parts, name, left, right string) string {
	return p.Add(name+".shuffle", ChannelShuffle{Groups: 2}, p.Add(name+".concat", Concat{}, left, right))
}
