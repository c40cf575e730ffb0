package cpu

import "github.com/potstill/potstill/engine"

// Convolutions of activations in bfloat16. Weights are float32; what is summed
// is too.
func init() {
	lowersPrepared(bfloat16Lowerers, func(op engine.Conv2D, in, out []engine.Spec) (*kernel, error) {
		g := geometryOf(op, in[0], in[1], out[0])
		_, more := splitAct(op.Epilogue.Act)
		switch {
		case more.f != 0: // it would be taken of a rounded result
			return nil, errWidened
		case g.depthwise():
			return &kernel{lower: lowerDepthwise(g, op.Epilogue)}, nil
		case g.rgb() && !op.Epilogue.Residual:
			ws, low := lowerRGB(g, op.Epilogue.Act)
			return &kernel{ws: ws, lower: low}, nil
		}
		return nil, errWidened
	})
	lowersBFloat16(func(op engine.Conv2DBackwardData, in, _ []engine.Spec) (int, lowering, error) {
		if g := geometryOf(op.Conv2D, op.X, in[1], in[0]); g.depthwise() {
			return 0, lowerDepthwiseData(g), nil
		}
		return 0, nil, errWidened
	})
	lowersBFloat16(func(op engine.Conv2DBackwardWeight, in, _ []engine.Spec) (int, lowering, error) {
		g := geometryOf(op.Conv2D, in[0], op.W, in[1])
		switch {
		case g.depthwise():
			ws, low := lowerDepthwiseWeight(g, op.Bias)
			return ws, low, nil
		case g.rgb():
			ws, low := lowerRGBWeight(g, op.Bias)
			return ws, low, nil
		}
		return 0, nil, errWidened
	})
}
