package layers

import "fmt"

// A blockFunc adds a block of a cnn family that reads x, from in to out
// channels, its modules named name.0, name.1 and so on, and returns its output
// and the number of its modules.
type blockFunc func(b *NetBuilder, name, x string, in, out int) (y string, modules int)

// pooledBlocks is how many blocks behind the first are followed by a pooling.
const pooledBlocks = 3

// buildCNN returns the builder of a cnn family: a first block conv3x3, BN,
// ReLU6, MaxPool2, then blocks made by block, MaxPool2 behind the first three
// of them, global average pooling and one linear layer.
func buildCNN(block blockFunc) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		x, in := Image, a.InChannels
		for i, out := range a.Widths {
			name := fmt.Sprintf("cnn.%d", i)
			build := block
			if i == 0 {
				build = plainBlock
			}
			var k int
			x, k = build(b, name, x, in, out)
			if i <= pooledBlocks {
				x = b.Add(fmt.Sprintf("%s.%d", name, k), MaxPool(2, 0, 0), x)
			}
			in = out
		}
		x = b.Add(fmt.Sprintf("cnn.%d", len(a.Widths)), AdaptiveAvgPool2d{}, x)
		return b.Add("fc.0", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true}, x)
	}
}

// normalized is a 3×3 convolution with BatchNorm and ReLU6 behind it.
func normalized(b *NetBuilder, name, x string, in, out, groups int) (string, int) {
	conv := Conv(in, out, 3)
	conv.Padding, conv.Groups = Around(1), groups
	x = b.Add(name+".0", conv, x)
	x = b.Add(name+".1", BatchNorm(out), x)
	return b.Add(name+".2", ReLU6{}, x), 3
}

// plainBlock is a dense 3×3 convolution.
func plainBlock(b *NetBuilder, name, x string, in, out int) (string, int) {
	return normalized(b, name, x, in, out, 1)
}

// depthwiseBlock is a depthwise 3×3 convolution and a pointwise one (Howard et
// al., arXiv:1704.04861), with nothing behind the pointwise.
func depthwiseBlock(b *NetBuilder, name, x string, in, out int) (string, int) {
	x, _ = normalized(b, name, x, in, in, in)
	return b.Add(name+".3", Conv(in, out, 1), x), 4
}

// groupBlock is a 3×3 convolution in two groups and a pointwise one.
func groupBlock(b *NetBuilder, name, x string, in, out int) (string, int) {
	x, _ = normalized(b, name, x, in, in, 2)
	return b.Add(name+".3", Conv(in, out, 1), x), 4
}

// printedBlock is a 3×3 convolution in two groups that changes the width.
func printedBlock(b *NetBuilder, name, x string, in, out int) (string, int) {
	return normalized(b, name, x, in, out, 2)
}

// buildResNet18 is torchvision's ResNet-18 with the stages' widths a.Widths,
// the first of which is the stem's too.
func buildResNet18(b *NetBuilder, a Arch) string {
	w := a.Widths
	x := b.Add("conv1", resNetConv(a.InChannels, w[0], 7, 2), Image)
	x = b.Add("bn1", BatchNorm(w[0]), x)
	x = b.Add("relu", ReLU{}, x)
	x = b.Add("maxpool", MaxPool(3, 2, 1), x)
	in := w[0]
	for i, out := range w {
		stride := 2
		if i == 0 {
			stride = 1
		}
		name := fmt.Sprintf("layer%d", i+1)
		x = basicBlock(b, name+".0", x, in, out, stride)
		x = basicBlock(b, name+".1", x, out, out, 1)
		in = out
	}
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true}, x)
}

// resNetConv is a convolution without a bias whose padding keeps the size.
func resNetConv(in, out, kernel, stride int) Conv2d {
	return Conv2d{
		InChannels: in, OutChannels: out, KernelSize: Both(kernel), Stride: Both(stride), Padding: Around(kernel / 2),
		Dilation: Both(1), Groups: 1, WeightInit: KaimingNormalFanOut,
	}
}

// basicBlock is torchvision's residual block of ResNet-18 (He et al.,
// arXiv:1512.03385): y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).
// The shortcut is x itself, or a strided pointwise convolution with BatchNorm
// ("downsample") where stride or channels change.
func basicBlock(b *NetBuilder, name, x string, in, out, stride int) string {
	y := b.Add(name+".conv1", resNetConv(in, out, 3, stride), x)
	y = b.Add(name+".bn1", BatchNorm(out), y)
	y = b.Add(name+".relu", ReLU{}, y)
	y = b.Add(name+".conv2", resNetConv(out, out, 3, 1), y)
	y = b.Add(name+".bn2", BatchNorm(out), y)
	if stride != 1 || in != out {
		x = b.Add(name+".downsample.0", resNetConv(in, out, 1, stride), x)
		x = b.Add(name+".downsample.1", BatchNorm(out), x)
	}
	y = b.Add(name+".add", Add{}, y, x)
	return b.Add(name+".relu_1", ReLU{}, y)
}
