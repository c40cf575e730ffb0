package gpu

import "github.com/potstill/potstill/engine"

func init() { lowers((*Backend).lowerReshape, engine.Reshape{}) }

// lowerReshape lowers a reshape to a copy: the sum of one tensor.
func (b *Backend) lowerReshape(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	return b.lowerAdd(engine.Add{}, in)
}
