package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerMul, engine.Mul{})
	lowers((*Backend).lowerMulBackward, engine.MulBackward{})
}

func (b *Backend) lowerMul(op engine.Op, in, out []engine.Spec) (lowering, error) {
	x := in[0]
	switch op.(engine.Mul).Broadcast(x, in[1]) {
	case engine.Elementwise:
		return b.lowerPointwise(op, in, out)
	case engine.OverChannels:
		return b.lowerRowwise(x)
	}
	run, err := b.channelwise(x, x.Shape[0], "-DGATE")
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error { return run(in[0], in[1], 0, out[0]) }}, err
}

// lowerRowwise lowers a factor for each row, and its gradient.
func (b *Backend) lowerRowwise(x engine.Spec) (lowering, error) {
	width, c := poolWidth(x), x.Shape[len(x.Shape)-1]
	f, err := b.function("channelwise", "rowwise", widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	rows := x.Len() / c
	a := &rowwiseArgs{rows: int64(rows), vectors: int32(c / width)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.w, a.y, a.dy, a.dw = in[0], in[1], out[0], 0, 0
		if len(in) > 2 {
			a.dy, a.dw = in[2], out[1]
		}
		return launch(b, f, b.rowsBlocks(rows), [3]int{normThreads, 1, 1}, 0, a)
	}}, nil
}

func (b *Backend) lowerMulBackward(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	x := in[0]
	if (engine.Mul{}).Broadcast(x, in[1]) == engine.OverChannels {
		return b.lowerRowwise(x)
	}
	images := x.Shape[0]
	g, err := b.channelwiseGrad(x, images, "-DGATE")
	if err != nil {
		return lowering{}, err
	}
	f, err := b.function("channelwise", "channelwise_total", g.defines...)
	if err != nil {
		return lowering{}, err
	}
	a := &channelwiseTotalArgs{items: uint32(images * g.c), chunks: int32(g.chunks), byChannels: kernels.Divisor(g.c)}
	return lowering{ws: g.ws(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := g.run(in[0], in[2], in[1], out[0], ws); err != nil {
			return err
		}
		a.part, a.ds = ws, out[1]
		return launch(b, f, b.items(images*g.c), [3]int{elementThreads, 1, 1}, 0, a)
	}}, nil
}
