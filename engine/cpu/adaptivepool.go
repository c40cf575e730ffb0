package cpu

import "github.com/potstill/potstill/engine"

// Adaptive pools are lowered to the kernels of pool2d.h, with windows of their own.
func init() {
	lowersCompiledAlone(func(op engine.AdaptiveMaxPool2D, in, out []engine.Spec) lowering {
		return adaptivePooling(op.Adaptive, in[0]).lower(kMaxPool, in[0], out[0])
	})
	lowersCompiled(func(op engine.AdaptiveMaxPool2DBackward, in, out []engine.Spec) (int, lowering, error) {
		return sumsBytes(out[0]), adaptivePooling(op.Adaptive, in[0]).lower(kMaxPoolBackward, in[0], in[1]), nil
	})
	lowersCompiledAlone(func(op engine.AdaptiveAvgPool2D, in, out []engine.Spec) lowering {
		return adaptivePooling(op.Adaptive, in[0]).lower(kAvgPool, in[0], out[0])
	})
	lowersCompiled(func(op engine.AdaptiveAvgPool2DBackward, in, out []engine.Spec) (int, lowering, error) {
		return sumsBytes(out[0]), adaptivePooling(op.Adaptive, op.X).lower(kAvgPoolBackward, op.X, in[0]), nil
	})
}
