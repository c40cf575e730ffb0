package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerChannelShuffle(op.(engine.ChannelShuffle), in[0])
	}, engine.ChannelShuffle{})
}

// channelShuffleArgs are the arguments of channelshuffle.cu, field for field.
type channelShuffleArgs struct {
	x, y            cuda.Ptr
	items           uint32
	each, channels  int32
	byRow, byGroups kernels.FastDiv
}

func (b *Backend) lowerChannelShuffle(op engine.ChannelShuffle, x engine.Spec) (lowering, error) {
	width := poolWidth(x)
	f, err := b.function("channelshuffle", "channel_shuffle", widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	c := x.Shape[len(x.Shape)-1]
	rows, each, bytes := x.Len()/c, c/width, c*x.DType.Size()
	a := &channelShuffleArgs{each: int32(c / op.Groups), channels: int32(c), byRow: kernels.Divisor(each), byGroups: kernels.Divisor(op.Groups)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		return inParts(rows, each, func(first, rows int) error {
			a.x, a.y, a.items = in[0]+cuda.Ptr(first*bytes), out[0]+cuda.Ptr(first*bytes), uint32(rows*each)
			return launch(b, f, b.items(rows*each), [3]int{elementThreads, 1, 1}, 0, a)
		})
	}}, nil
}
