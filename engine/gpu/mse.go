package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() { lowers((*Backend).lowerMSE, engine.MSE{}, engine.MSEBackward{}) }

// mseArgs are the arguments of mse.cu, field for field.
type mseArgs struct {
	x, target, dloss, dx, y, part, arrived cuda.Ptr
	items                                  int64
	scale                                  float32
}

func (b *Backend) lowerMSE(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	x := in[0]
	width := poolWidth(engine.Spec{Shape: []int{x.Len()}, DType: x.DType}) // as if it were one row
	name, blocks := "mse", b.items(x.Len()/width)
	if _, back := op.(engine.MSEBackward); back {
		name = "mse_backward"
	}
	f, err := b.function("mse", name, widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	a := &mseArgs{items: int64(x.Len() / width), scale: 1 / float32(x.Len())}
	if name == "mse" {
		if a.arrived, err = b.counters(1); err != nil {
			return lowering{}, err
		}
		return lowering{ws: 4 * blocks[0], enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
			a.x, a.target, a.y, a.part = in[0], in[1], out[0], ws
			return launch(b, f, blocks, [3]int{elementThreads, 1, 1}, 0, a)
		}}, nil
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.target, a.dloss, a.dx = in[0], in[1], in[2], out[0]
		return launch(b, f, blocks, [3]int{elementThreads, 1, 1}, 0, a)
	}}, nil
}
