package gpu

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// lowerLinear lowers Linear, LinearBackwardData and LinearBackwardWeight to the
// products of matrices that they are.
func (b *Backend) lowerLinear(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op.(type) {
	case engine.Linear, engine.LinearBackwardData, engine.LinearBackwardWeight:
		p, _ := matmulOf(op, in)
		return b.lowerGemm(p, in, out)
	}
	return lowering{}, fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
}
