package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerAugment(op.(engine.Augment), in)
	}, engine.Augment{})
}

// What the kernels of augment.cu are launched with: the pixels of a tile, as the
// source has it, and the threads that look for an image's mean.
const (
	augmentTile = 256
	meanThreads = 512
)

// augmentArgs are the arguments of augment.cu, field for field.
type augmentArgs struct {
	images, index, params, table, mean, y cuda.Ptr
	tiles, across                         kernels.FastDiv
	n                                     uint32
	h, w, oh, ow                          int32
}

// lowerAugment lowers Augment to one launch, or with jitter to two: contrast
// needs the mean of each crop first.
func (b *Backend) lowerAugment(op engine.Augment, in []engine.Spec) (lowering, error) {
	n, h, w, _, _ := in[0].NHWC()
	batch, tiles := in[1].Shape[0], ceilDiv(op.Height*op.Width, augmentTile)
	if max(n, h, w, batch*tiles) > maxItems {
		return lowering{}, fmt.Errorf("augmenting %v: %w: more than %d images, lines or tiles", in[0], engine.ErrUnsupported, maxItems)
	}
	var defines []string
	if op.Jitter {
		defines = append(defines, "-DJITTER")
	}
	if op.BFloat16 {
		defines = append(defines, "-DBF16")
	}
	f, err := b.function("augment", "augment", defines...)
	if err != nil {
		return lowering{}, err
	}
	a := &augmentArgs{tiles: kernels.Divisor(tiles), across: kernels.Divisor(op.Width), n: uint32(n),
		h: int32(h), w: int32(w), oh: int32(op.Height), ow: int32(op.Width)}
	grid, block := [3]int{batch * tiles, 1, 1}, [3]int{augmentTile, 1, 1}
	if !op.Jitter {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			a.images, a.index, a.params, a.table, a.y = in[0], in[1], in[2], in[3], out[0]
			return launch(b, f, grid, block, 0, a)
		}}, nil
	}
	mean, err := b.function("augment", "augment_mean", defines...)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: 4 * batch, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.images, a.index, a.params, a.table, a.mean, a.y = in[0], in[1], in[2], in[3], ws, out[0]
		if err := launch(b, mean, [3]int{batch, 1, 1}, [3]int{meanThreads, 1, 1}, 0, a); err != nil {
			return err
		}
		return launch(b, f, grid, block, 0, a)
	}}, nil
}
