package gpu

import "github.com/potstill/potstill/engine"

func (b *Backend) lowerConv2D(op engine.Conv2D, in, out []engine.Spec) (lowering, error) {
	return lowering{}, engine.ErrUnsupported
}

func (b *Backend) lowerConv2DBackwardData(op engine.Conv2DBackwardData, in, out []engine.Spec) (lowering, error) {
	return lowering{}, engine.ErrUnsupported
}

func (b *Backend) lowerConv2DBackwardWeight(op engine.Conv2DBackwardWeight, in, out []engine.Spec) (lowering, error) {
	return lowering{}, engine.ErrUnsupported
}

func (b *Backend) lowerLinear(op engine.Op, in, out []engine.Spec) (lowering, error) {
	return lowering{}, engine.ErrUnsupported
}
