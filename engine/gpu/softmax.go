package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerSoftmax("softmax", op.(engine.Softmax).Log, in[0])
	}, engine.Softmax{})
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerSoftmax("softmax_backward", op.(engine.SoftmaxBackward).Log, in[0])
	}, engine.SoftmaxBackward{})
}

// softmaxArgs are the arguments of softmax.cu, field for field.
type softmaxArgs struct {
	x, dy, y cuda.Ptr
	rows     int64
	vectors  int32
}

func (b *Backend) lowerSoftmax(name string, log bool, x engine.Spec) (lowering, error) {
	width, c := poolWidth(x), x.Shape[len(x.Shape)-1]
	defines := widthDefines(x, width)
	if log {
		defines = append(defines, "-DLOG")
	}
	f, err := b.function("softmax", name, defines...)
	if err != nil {
		return lowering{}, err
	}
	rows := x.Len() / c
	a := &softmaxArgs{rows: int64(rows), vectors: int32(c / width)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		if len(in) > 1 {
			a.dy = in[1]
		}
		return launch(b, f, b.rowsBlocks(rows), [3]int{normThreads, 1, 1}, 0, a)
	}}, nil
}
