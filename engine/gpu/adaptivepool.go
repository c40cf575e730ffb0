package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerAdaptivePool, engine.AdaptiveAvgPool2D{}, engine.AdaptiveAvgPool2DBackward{},
		engine.AdaptiveMaxPool2D{}, engine.AdaptiveMaxPool2DBackward{})
}

// adaptiveArgs are the arguments of adaptivepool.cu, field for field.
type adaptiveArgs struct {
	x, dy, y, won     cuda.Ptr
	items             uint32
	h, w, oh, ow, c   int32
	byC, byCol, byRow kernels.FastDiv
}

// lowerAdaptivePool lowers the adaptive pools.
func (b *Backend) lowerAdaptivePool(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.AdaptiveAvgPool2D:
		p, err := b.adaptivePass("adaptive_avg_pool", in[0], out[0], out[0])
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			p.args.x, p.args.y = in[0], out[0]
			return p.run(b)
		}}, err
	case engine.AdaptiveAvgPool2DBackward:
		p, err := b.adaptivePass("adaptive_avg_pool_backward", op.X, in[0], op.X)
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			p.args.dy, p.args.y = in[0], out[0]
			return p.run(b)
		}}, err
	case engine.AdaptiveMaxPool2D:
		p, err := b.adaptivePass("adaptive_max_pool", in[0], out[0], out[0])
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			p.args.x, p.args.y = in[0], out[0]
			return p.run(b)
		}}, err
	case engine.AdaptiveMaxPool2DBackward:
		return b.lowerAdaptiveMaxBackward(in[0], in[1])
	}
	return lowering{}, unsupported(op)
}

// lowerAdaptiveMaxBackward lowers the gradient of a max pool to one pass that finds
// the windows' winners and one that gathers.
func (b *Backend) lowerAdaptiveMaxBackward(x, y engine.Spec) (lowering, error) {
	find, err := b.adaptivePass("adaptive_max_pool", x, y, y)
	if err != nil {
		return lowering{}, err
	}
	gather, err := b.adaptivePass("adaptive_max_pool_backward", x, y, x)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: 4 * y.Len(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		find.args.x, find.args.won = in[0], ws
		gather.args.dy, gather.args.won, gather.args.y = in[1], ws, out[0]
		if err := find.run(b); err != nil {
			return err
		}
		return gather.run(b)
	}}, nil
}

// An adaptivePass is one kernel of an adaptive pool.
type adaptivePass struct {
	f    *cuda.Function
	args adaptiveArgs
}

// adaptivePass makes the pass over the vectors of side, which is x or y.
func (b *Backend) adaptivePass(name string, x, y, side engine.Spec) (*adaptivePass, error) {
	width := poolWidth(x)
	items := side.Len() / width
	if max(items, x.Shape[1]*x.Shape[2]) > maxItems {
		return nil, fmt.Errorf("pooling %v to %v: %w: more than %d elements", x, y, engine.ErrUnsupported, maxItems)
	}
	f, err := b.function("adaptivepool", name, widthDefines(x, width)...)
	c := x.Shape[3] / width
	return &adaptivePass{f, adaptiveArgs{items: uint32(items), h: int32(x.Shape[1]), w: int32(x.Shape[2]), oh: int32(y.Shape[1]), ow: int32(y.Shape[2]),
		c: int32(c), byC: kernels.Divisor(c), byCol: kernels.Divisor(side.Shape[2]), byRow: kernels.Divisor(side.Shape[1])}}, err
}

// run launches the pass on the addresses in its arguments.
func (p *adaptivePass) run(b *Backend) error {
	grid := [3]int{b.resident(int(p.args.items), elementThreads, elementBlocks), 1, 1}
	return launch(b, p.f, grid, [3]int{elementThreads, 1, 1}, 0, &p.args)
}
