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
