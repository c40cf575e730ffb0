package main

import "github.com/potstill/potstill/layers"

// operatorsNet names a net for measurements: the operators that the study's nets
// lack, each once and on images of some size.
const operatorsNet = "operators"

// newOperatorsNet returns the net, which has so many channels throughout.
func newOperatorsNet(classes, channels int) (*layers.Net, error) {
	b := layers.NewNetBuilder(operatorsNet, layers.Input{Channels: 3})
	n := 4 * channels
	window := layers.MaxPool(3, 1, 1)
	mean := layers.AvgPool(3, 2, 1)
	mean.CeilMode, mean.CountIncludePad = true, true
	stem := layers.Conv(3, n, 3)
	stem.Padding = layers.Around(1)
	deep := layers.Conv(n, n, 5)
	deep.Groups, deep.Padding = n, layers.Around(2)
	x := b.Add("stem", stem, layers.Image)
	x = b.Add("window", window, x)
	x = b.Add("layer_norm", layers.LayerNorm2d{NumChannels: n, Eps: 1e-6}, x)
	x = b.Add("depthwise", deep, x)
	x = b.Add("gelu", layers.GELU{Approximate: "none"}, x)
	left := b.Add("left", layers.Slice{End: n / 2}, x)
	right := b.Add("right", layers.Slice{Start: n / 2, End: n}, x)
	left = b.Add("group_norm", layers.GroupNorm{NumGroups: 2, NumChannels: n / 2, Eps: 1e-5}, left)
	right = b.Add("instance_norm", layers.InstanceNorm2d{NumFeatures: n / 2, Eps: 1e-5, Affine: true}, right)
	x = b.Add("concat", layers.Concat{}, left, right)
	x = b.Add("shuffle", layers.ChannelShuffle{Groups: 4}, x)
	gate := b.Add("squeeze", layers.AdaptiveAvgPool2d{OutputSize: layers.Both(1), KeepDims: true}, x)
	gate = b.Add("excite", layers.Conv(n, n, 1), gate)
	gate = b.Add("gate", layers.Sigmoid{}, gate)
	x = b.Add("scaled", layers.Mul{}, x, gate)
	x = b.Add("mean", mean, x)
	x = b.Add("pad", layers.ReflectionPad2d{Padding: layers.Borders{1, 1, 1, 1}}, x)
	x = b.Add("response", layers.LocalResponseNorm{Size: 5, Alpha: 1e-4, Beta: 0.75, K: 1}, x)
	x = b.Add("affine", layers.ScaleShift{Channels: n, Scale: true, Bias: true, Dims: 3, Start: 1}, x)
	x = b.Add("prelu", layers.PReLU{NumParameters: n, Start: 0.25}, x)
	dropped := b.Add("dropped", layers.StochasticDepth{P: 0.2}, x)
	x = b.Add("sum", layers.Add{}, x, dropped)
	x = b.Add("adaptive", layers.AdaptiveAvgPool2d{OutputSize: layers.Both(3), KeepDims: true}, x)
	x = b.Add("flatten", layers.Flatten{}, x)
	return b.Net(b.Add("fc", layers.Linear{InFeatures: 9 * n, OutFeatures: classes, Bias: true}, x))
}
