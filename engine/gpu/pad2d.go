package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, out []engine.Spec) (lowering, error) {
		return b.lowerPad2D("pad2d", op.(engine.Pad2D), in[0], out[0], out[0])
	}, engine.Pad2D{})
	lowers(func(b *Backend, op engine.Op, in, out []engine.Spec) (lowering, error) {
		return b.lowerPad2D("pad2d_backward", op.(engine.Pad2DBackward).Pad2D, out[0], in[0], out[0])
	}, engine.Pad2DBackward{})
}

// pad2dArgs are the arguments of pad2d.cu, field for field.
type pad2dArgs struct {
	x, y                             cuda.Ptr
	items                            uint32
	h, w, oh, ow, c, top, left, mode int32
	value                            float32
	byC, byCol, byRow                kernels.FastDiv
}

// lowerPad2D lowers one of the kernels with small side x and large side y, over the
// vectors of the side that is written.
func (b *Backend) lowerPad2D(name string, op engine.Pad2D, x, y, side engine.Spec) (lowering, error) {
	width := poolWidth(x)
	f, err := b.function("pad2d", name, widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	n, h, w, c, _ := x.NHWC()
	c /= width
	image := func(s engine.Spec) int { return s.Len() / n }
	other := y
	if side.Equal(y) {
		other = x
	}
	a := &pad2dArgs{h: int32(h), w: int32(w), oh: int32(y.Shape[1]), ow: int32(y.Shape[2]), c: int32(c), top: int32(op.Pad[0]), left: int32(op.Pad[1]),
		mode: int32(op.Mode), value: op.Value, byC: kernels.Divisor(c), byCol: kernels.Divisor(side.Shape[2]), byRow: kernels.Divisor(side.Shape[1])}
	each, size := image(side)/width, x.DType.Size()
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		return inParts(n, each, func(first, images int) error {
			a.x, a.y = in[0]+cuda.Ptr(first*image(other)*size), out[0]+cuda.Ptr(first*image(side)*size)
			a.items = uint32(images * each)
			return launch(b, f, b.items(images*each), [3]int{elementThreads, 1, 1}, 0, a)
		})
	}}, nil
}
