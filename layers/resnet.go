package layers

import "fmt"

// A residual adds a block of a ResNet that reads x, of in channels, for a stage
// of the given width, and returns its output and the channels of that.
type residual func(p parts, name, x string, in, width, stride int) (y string, out int)

// resNetParts are those of all ResNets: torchvision starts their convolutions
// normal with variance 2/fan_out.
func resNetParts(b *NetBuilder) parts {
	return parts{NetBuilder: b, weights: KaimingNormalFanOut, norm: BatchNorm, act: ReLU{}}
}

// buildResNet returns the builder of torchvision's ResNets (He et al.,
// arXiv:1512.03385): a stem of a 7×7 convolution and a pooling, both of stride 2,
// stages of so many blocks, and one linear layer. The widths are those of the
// stages, the first of which is the stem's too.
func buildResNet(block residual, repeats ...int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		p, w := resNetParts(b), a.Widths
		x := b.Add("conv1", p.conv(a.InChannels, w[0], 7, 2, 1), Image)
		x = b.Add("bn1", p.norm(w[0]), x)
		x = b.Add("relu", ReLU{}, x)
		x = b.Add("maxpool", MaxPool(3, 2, 1), x)
		x, in := stages(p, block, x, w[0], w, repeats)
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true}, x)
	}
}

// stages adds the stages layer1, layer2 and so on of these widths. All but the
// first begin with stride 2.
func stages(p parts, block residual, x string, in int, widths, repeats []int) (string, int) {
	for i, width := range widths {
		for k := range repeats[i] {
			stride := 1
			if i > 0 && k == 0 {
				stride = 2
			}
			x, in = block(p, fmt.Sprintf("layer%d.%d", i+1, k), x, in, width, stride)
		}
	}
	return x, in
}

// basic is the block of the small ResNets:
//
//	y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))
//
// with two 3×3 convolutions, of which the first has the stride.
func basic(p parts, name, x string, in, width, stride int) (string, int) {
	y := p.Add(name+".conv1", p.conv(in, width, 3, stride, 1), x)
	y = p.Add(name+".bn1", p.norm(width), y)
	y = p.Add(name+".relu", ReLU{}, y)
	y = p.Add(name+".conv2", p.conv(width, width, 3, 1, 1), y)
	y = p.Add(name+".bn2", p.norm(width), y)
	x = shortcut(p, name, x, in, width, stride)
	y = p.Add(name+".add", Add{}, y, x)
	return p.Add(name+".relu_1", ReLU{}, y), width
}

// shortcut is x itself, or a strided pointwise convolution with BatchNorm where
// stride or channels change.
func shortcut(p parts, name, x string, in, out, stride int) string {
	if stride == 1 && in == out {
		return x
	}
	return p.normalized(name+".downsample", 0, x, p.conv(in, out, 1, stride, 1))
}

// expansion is how many times wider the output of a bottleneck is than its
// stage's width.
const expansion = 4

// bottleneck returns the block of the large ResNets: a pointwise convolution to
// wide times the stage's width, a 3×3 one in groups with the stride
// (torchvision's version 1.5), and a pointwise one to four times the width. Two
// times the width is Wide ResNet (Zagoruyko and Komodakis, arXiv:1605.07146),
// and in 32 groups ResNeXt (Xie et al., arXiv:1611.05431).
func bottleneck(wide, groups int) residual {
	return func(p parts, name, x string, in, width, stride int) (string, int) {
		inner, out := wide*width, expansion*width
		y := p.Add(name+".conv1", p.conv(in, inner, 1, 1, 1), x)
		y = p.Add(name+".bn1", p.norm(inner), y)
		y = p.Add(name+".relu", ReLU{}, y)
		y = p.Add(name+".conv2", p.conv(inner, inner, 3, stride, groups), y)
		y = p.Add(name+".bn2", p.norm(inner), y)
		y = p.Add(name+".relu_1", ReLU{}, y)
		y = p.Add(name+".conv3", p.conv(inner, out, 1, 1, 1), y)
		y = p.Add(name+".bn3", p.norm(out), y)
		x = shortcut(p, name, x, in, out, stride)
		y = p.Add(name+".add", Add{}, y, x)
		return p.Add(name+".relu_2", ReLU{}, y), out
	}
}

// buildSmallResNet returns the builder of RepDistiller's ResNets for pictures of
// 32×32 pixels (section 4.2 of arXiv:1512.03385): a 3×3 convolution, three
// stages of so many basic blocks, the mean over the image, and one linear layer.
// The widths are those of the first convolution and of the stages.
func buildSmallResNet(repeats int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		p, w := resNetParts(b), a.Widths
		x := b.Add("conv1", p.conv(a.InChannels, w[0], 3, 1, 1), Image)
		x = b.Add("bn1", p.norm(w[0]), x)
		x = b.Add("relu", ReLU{}, x)
		x, in := stages(p, basic, x, w[0], w[1:], []int{repeats, repeats, repeats})
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true}, x)
	}
}

// buildWideResNet returns the builder of RepDistiller's Wide ResNets for
// pictures of 32×32 pixels (arXiv:1605.07146): a 3×3 convolution, three stages
// of so many blocks that normalize first, and one linear layer. The widths are
// those of the first convolution and of the stages.
func buildWideResNet(repeats int) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		p, w := resNetParts(b), a.Widths
		x := b.Add("conv1", p.conv(a.InChannels, w[0], 3, 1, 1), Image)
		in := w[0]
		for i, out := range w[1:] {
			for k := range repeats {
				stride := 1
				if i > 0 && k == 0 {
					stride = 2
				}
				x = preactivated(p, fmt.Sprintf("block%d.layer.%d", i+1, k), x, in, out, stride)
				in = out
			}
		}
		x = b.Add("bn1", p.norm(in), x)
		x = b.Add("relu", ReLU{}, x)
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true, BiasInit: Zeros}, x)
	}
}

// preactivated is a block of a Wide ResNet: with z = relu(bn1(x)),
//
//	y = conv2(relu(bn2(conv1(z)))) + x
//
// and where the channels change the shortcut is a strided pointwise convolution
// of z instead of x.
func preactivated(p parts, name, x string, in, out, stride int) string {
	z := p.Add(name+".bn1", p.norm(in), x)
	z = p.Add(name+".relu1", ReLU{}, z)
	y := p.Add(name+".conv1", p.conv(in, out, 3, stride, 1), z)
	y = p.Add(name+".bn2", p.norm(out), y)
	y = p.Add(name+".relu2", ReLU{}, y)
	y = p.Add(name+".conv2", p.conv(out, out, 3, 1, 1), y)
	if in != out || stride != 1 {
		x = p.Add(name+".convShortcut", p.conv(in, out, 1, stride, 1), z)
	}
	return p.Add(name+".add", Add{}, y, x)
}
