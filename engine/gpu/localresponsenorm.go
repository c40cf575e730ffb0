package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerResponse("local_response", op.(engine.LocalResponseNorm), in[0])
	}, engine.LocalResponseNorm{})
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerResponse("local_response_backward", op.(engine.LocalResponseNormBackward).LocalResponseNorm, in[0])
	}, engine.LocalResponseNormBackward{})
}

// responseArgs are the arguments of localresponsenorm.cu, field for field.
type responseArgs struct {
	x, dy, y          cuda.Ptr
	items             int64
	c, before, behind int32
	scale, beta, k    float32
}

func (b *Backend) lowerResponse(name string, op engine.LocalResponseNorm, x engine.Spec) (lowering, error) {
	f, err := b.function("localresponsenorm", name, stored(x)...)
	if err != nil {
		return lowering{}, err
	}
	c := x.Shape[len(x.Shape)-1]
	before, behind := op.Reach()
	a := &responseArgs{items: int64(x.Len()), c: int32(c), before: int32(min(before, c)), behind: int32(min(behind, c)),
		scale: float32(float64(op.Alpha) / float64(op.Size)), beta: op.Beta, k: op.K}
	grid := b.items(x.Len())
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		if len(in) > 1 {
			a.dy = in[1]
		}
		return launch(b, f, grid, [3]int{elementThreads, 1, 1}, 0, a)
	}}, nil
}
