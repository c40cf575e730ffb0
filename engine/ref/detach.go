package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(func(_ engine.Detach, in, out []Array) { copy(out[0].V, in[0].V) })
}
