package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// A blockFunc returns the layers of block i of a cnn family, from in to out
// channels, named name.0, name.1 and so on.
type blockFunc func(name string, in, out int) []Layer

// pooledBlocks is how many blocks behind the first are followed by a pooling.
const pooledBlocks = 3

var (
	same3x3  = Conv2dOptions{Padding: 1}
	halving2 = engine.Window{Kernel: 2}
)

// buildCNN returns the builder of a cnn family: a first block conv3x3, BN,
// ReLU6, MaxPool2, then blocks made by block, MaxPool2 behind the first three
// of them, global average pooling and one linear layer.
func buildCNN(block blockFunc) func(a Arch) Layer {
	return func(a Arch) Layer {
		var net []Layer
		in := a.InChannels
		for i, out := range a.Widths {
			name := fmt.Sprintf("cnn.%d", i)
			build := block
			if i == 0 {
				build = plainBlock
			}
			part := build(name, in, out)
			if i <= pooledBlocks {
				part = append(part, NewMaxPool2d(fmt.Sprintf("%s.%d", name, len(part)), halving2))
			}
			net = append(net, NewSequential(name, part...))
			in = out
		}
		net = append(net,
			NewAdaptiveAvgPool2d(fmt.Sprintf("cnn.%d", len(a.Widths))),
			NewLinear("fc.0", in, a.Classes))
		return NewSequential("", net...)
	}
}

// normalised is a 3×3 convolution with BatchNorm and ReLU6 behind it.
func normalised(name string, in, out, groups int) []Layer {
	o := same3x3
	o.Groups = groups
	return []Layer{
		NewConv2d(name+".0", in, out, 3, o),
		NewBatchNorm2d(name+".1", out),
		NewReLU6(name + ".2"),
	}
}

// plainBlock is a dense 3×3 convolution.
func plainBlock(name string, in, out int) []Layer { return normalised(name, in, out, 1) }

// depthwiseBlock is a depthwise 3×3 convolution and a pointwise one (Howard et
// al., arXiv:1704.04861), with nothing behind the pointwise.
func depthwiseBlock(name string, in, out int) []Layer {
	return append(normalised(name, in, in, in), NewConv2d(name+".3", in, out, 1, Conv2dOptions{}))
}

// groupBlock is a 3×3 convolution in two groups and a pointwise one.
func groupBlock(name string, in, out int) []Layer {
	return append(normalised(name, in, in, 2), NewConv2d(name+".3", in, out, 1, Conv2dOptions{}))
}

// printedBlock is a 3×3 convolution in two groups that changes the width.
func printedBlock(name string, in, out int) []Layer { return normalised(name, in, out, 2) }

// buildResNet18 is torchvision's ResNet-18 with the stages' widths a.Widths,
// the first of which is the stem's too.
func buildResNet18(a Arch) Layer {
	w := a.Widths
	stem := Conv2dOptions{Stride: 2, Padding: 3, NoBias: true}
	net := []Layer{
		NewConv2d("conv1", a.InChannels, w[0], 7, stem).kaimingNormalFanOut(),
		NewBatchNorm2d("bn1", w[0]),
		NewReLU("relu"),
		NewMaxPool2d("maxpool", engine.Window{Kernel: 3, Stride: 2, Pad: 1}),
	}
	in := w[0]
	for i, out := range w {
		stride := 2
		if i == 0 {
			stride = 1
		}
		name := fmt.Sprintf("layer%d", i+1)
		net = append(net, NewSequential(name,
			NewBasicBlock(name+".0", in, out, stride),
			NewBasicBlock(name+".1", out, out, 1)))
		in = out
	}
	net = append(net, NewAdaptiveAvgPool2d("avgpool"), NewLinear("fc", in, a.Classes))
	return NewSequential("", net...)
}
