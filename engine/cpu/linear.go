package cpu

import (
	"reflect"

	"github.com/potstill/potstill/engine"
)

// Linear layers are lowered as the pointwise convolutions that they are.
func init() {
	for _, table := range []map[reflect.Type]lowerer{lowerers, bfloat16Lowerers} {
		lowersPrepared(table, func(_ engine.Linear, in, out []engine.Spec) (*kernel, error) {
			ws, low, err := lowerConv2D(engine.Conv2D{}, asImages(in), asImage(out[0]))
			if err != nil {
				return nil, err
			}
			return &kernel{ws: ws, lower: low, once: prepareConv2D(engine.Conv2D{}, asImages(in), asImage(out[0]))}, nil
		})
	}
	lowersStored(func(_ engine.LinearBackwardData, in, out []engine.Spec) (int, lowering, error) {
		return lowerConv2DBackwardData(engine.Conv2DBackwardData{X: asImage(out[0])}, []engine.Spec{asImage(in[0]), asKernel(in[1])})
	})
	lowersStored(func(op engine.LinearBackwardWeight, in, out []engine.Spec) (int, lowering, error) {
		return lowerConv2DBackwardWeight(engine.Conv2DBackwardWeight{W: asKernel(out[0]), Bias: op.Bias}, []engine.Spec{asImage(in[0]), asImage(in[1])})
	})
}

// asImages returns the inputs of a linear layer as those of the convolution.
func asImages(in []engine.Spec) []engine.Spec {
	return append([]engine.Spec{asImage(in[0]), asKernel(in[1])}, in[2:]...)
}

// asImage returns [N, K] as images of one pixel [N, 1, 1, K].
func asImage(s engine.Spec) engine.Spec {
	return engine.Spec{Shape: []int{s.Shape[0], 1, 1, s.Shape[1]}, DType: s.DType}
}

// asKernel returns weights [K, N] as those of a kernel of one place [1, 1, K, N].
func asKernel(s engine.Spec) engine.Spec { return engine.F32(1, 1, s.Shape[0], s.Shape[1]) }
