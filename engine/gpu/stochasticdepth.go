package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() { lowers((*Backend).lowerStochasticDepth, engine.StochasticDepth{}) }

// stochasticDepthArgs are the arguments of elementwise.cu, field for field.
type stochasticDepthArgs struct {
	x, counter, y     cuda.Ptr
	n                 int64
	stream, threshold uint32
	scale             float32
	byImage           kernels.FastDiv
}

func (b *Backend) lowerStochasticDepth(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op, x := o.(engine.StochasticDepth), in[0]
	n, each, name := x.Len(), x.Len()/x.Shape[0], "stochastic_depth"
	if v := vector(x); each%v == 0 {
		n, each, name = n/v, each/v, "stochastic_depth_wide"
	}
	if n > maxItems {
		return lowering{}, fmt.Errorf("dropping images of %v: %w: more than %d parts", x, engine.ErrUnsupported, maxItems)
	}
	f, err := b.function("elementwise", name, stored(x)...)
	if err != nil {
		return lowering{}, err
	}
	a := &stochasticDepthArgs{n: int64(n), stream: op.Stream, threshold: op.Threshold(), scale: float32(1 / (1 - float64(op.P))),
		byImage: kernels.Divisor(each)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.counter, a.y = in[0], in[1], out[0]
		return launch(b, f, b.items(n), [3]int{elementThreads, 1, 1}, 0, a)
	}}, nil
}
