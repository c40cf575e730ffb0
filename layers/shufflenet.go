package layers

import "fmt"

// shuffleRepeats is how many units each stage of ShuffleNet V2 has.
var shuffleRepeats = [...]int{4, 8, 4}

// buildShuffleNetV2 is torchvision's ShuffleNet V2 (Ma et al.,
// arXiv:1807.11164). Its widths are those of the stem, of the three stages, and
// of the last convolution.
func buildShuffleNetV2(b *NetBuilder, a Arch) string {
	w := a.Widths
	x := numbered(b, "conv1", 0, Image, Conv2d{InChannels: a.InChannels, OutChannels: w[0], KernelSize: Both(3), Stride: Both(2), Padding: Around(1)}, true)
	x = b.Add("maxpool", MaxPool(3, 2, 1), x)
	in := w[0]
	for i, repeats := range shuffleRepeats {
		out := w[1+i]
		x = shuffleDown(b, fmt.Sprintf("stage%d.0", i+2), x, in, out)
		for k := 1; k < repeats; k++ {
			x = shuffleUnit(b, fmt.Sprintf("stage%d.%d", i+2, k), x, out)
		}
		in = out
	}
	x = numbered(b, "conv5", 0, x, Conv2d{InChannels: in, OutChannels: w[4], KernelSize: Both(1), Stride: Both(1)}, true)
	x = b.Add("mean", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", Linear{InFeatures: w[4], OutFeatures: a.Classes, Bias: true}, x)
}

// numbered is a convolution without a bias, a BatchNorm and, if asked for, a
// ReLU: modules first, first+1 and first+2 of name.
func numbered(b *NetBuilder, name string, first int, x string, c Conv2d, relu bool) string {
	c.Dilation, c.Groups = Both(1), max(c.Groups, 1)
	x = b.Add(fmt.Sprintf("%s.%d", name, first), c, x)
	x = b.Add(fmt.Sprintf("%s.%d", name, first+1), BatchNorm(c.OutChannels), x)
	if relu {
		x = b.Add(fmt.Sprintf("%s.%d", name, first+2), ReLU{}, x)
	}
	return x
}

// shuffleBranch is the branch that both units have, from in to out channels: a
// pointwise convolution, a depthwise one of the given stride, and a pointwise.
func shuffleBranch(b *NetBuilder, name, x string, in, out, stride int) string {
	x = numbered(b, name, 0, x, Conv2d{InChannels: in, OutChannels: out, KernelSize: Both(1), Stride: Both(1)}, true)
	x = numbered(b, name, 3, x, Conv2d{InChannels: out, OutChannels: out, KernelSize: Both(3), Stride: Both(stride), Padding: Around(1), Groups: out}, false)
	return numbered(b, name, 5, x, Conv2d{InChannels: out, OutChannels: out, KernelSize: Both(1), Stride: Both(1)}, true)
}

// shuffleDown is the unit that halves the image: two branches that each make
// half of the channels.
func shuffleDown(b *NetBuilder, name, x string, in, out int) string {
	left := numbered(b, name+".branch1", 0, x, Conv2d{InChannels: in, OutChannels: in, KernelSize: Both(3), Stride: Both(2), Padding: Around(1), Groups: in}, false)
	left = numbered(b, name+".branch1", 2, left, Conv2d{InChannels: in, OutChannels: out / 2, KernelSize: Both(1), Stride: Both(1)}, true)
	right := shuffleBranch(b, name+".branch2", x, in, out/2, 2)
	return shuffleJoin(b, name, left, right)
}

// shuffleUnit lets half of the channels through as they are.
func shuffleUnit(b *NetBuilder, name, x string, channels int) string {
	left := b.Add(name+".left", Slice{Start: 0, End: channels / 2}, x)
	right := b.Add(name+".right", Slice{Start: channels / 2, End: channels}, x)
	return shuffleJoin(b, name, left, shuffleBranch(b, name+".branch2", right, channels/2, channels/2, 1))
}

func shuffleJoin(b *NetBuilder, name, left, right string) string {
	return b.Add(name+".shuffle", ChannelShuffle{Groups: 2}, b.Add(name+".concat", Concat{}, left, right))
}
