package checkpoint

import "github.com/potstill/potstill/engine"

// Int8 returns how a program may compute with the codes of a state that is
// stored in the given way, one of the constants above: on the ranges that they
// were stored with.
func Int8(quant string) engine.Int8 {
	switch quant {
	case Affine8:
		return engine.Int8PerTensor
	case Affine8PerChannel:
		return engine.Int8PerChannel
	}
	return engine.NoInt8
}
