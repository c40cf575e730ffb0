package cpu

import "github.com/potstill/potstill/engine"

// A reshape is a copy: the sum of one tensor.
func init() {
	lowersCompiledAlone(func(_ engine.Reshape, _, out []engine.Spec) lowering { return lowerAdd(engine.Add{}, out[0]) })
}
