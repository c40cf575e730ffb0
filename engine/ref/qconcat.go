package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(func(_ engine.QConcat, in, out []Array) { concat(engine.Concat{}, in, out) })
	define(func(_ engine.QFlatten, in, out []Array) { flatten(engine.Flatten{}, in, out) })
}
