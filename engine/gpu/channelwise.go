package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

// The arguments of channelwise.cu, field for field.
type (
	channelwiseArgs struct {
		x, w, b, y     cuda.Ptr
		items          uint32
		byRow, byImage kernels.FastDiv
		lo, hi         float32
	}
	channelwiseGradArgs struct {
		x, dy, w, dx, part cuda.Ptr
		rows, chunk        int64
		chunks, parts      int32
		c                  normColumns
		b                  cuda.Ptr
		lo, hi, gain       float32
	}
	channelwiseTotalArgs struct {
		part, ds   cuda.Ptr
		items      uint32
		chunks     int32
		byChannels kernels.FastDiv
	}
	slopeTotalArgs struct {
		part, dw cuda.Ptr
		n        int64
	}
	rowwiseArgs struct {
		x, w, dy, y, dw cuda.Ptr
		rows            int64
		vectors         int32
	}
)

// channelwise makes the launch of y = x·w + b, w or b null, or of a variant; x has
// so many images, each with a vector of its own under -DGATE.
func (b *Backend) channelwise(x engine.Spec, images int, variant ...string) (func(x, w, shift, y cuda.Ptr) error, error) {
	return b.channelwiseOf(new(channelwiseArgs), x, images, variant...)
}

// channelwiseOf is channelwise with arguments that a variant has besides.
func (b *Backend) channelwiseOf(a *channelwiseArgs, x engine.Spec, images int, variant ...string) (func(x, w, shift, y cuda.Ptr) error, error) {
	width := poolWidth(x)
	f, err := b.function("channelwise", "channelwise", append(widthDefines(x, width), variant...)...)
	if err != nil {
		return nil, err
	}
	c := x.Shape[len(x.Shape)-1]
	rows, each := x.Len()/c, c/width
	if rows*each > maxItems {
		return nil, fmt.Errorf("channels of %v: %w: more than %d parts", x, engine.ErrUnsupported, maxItems)
	}
	a.items, a.byRow, a.byImage = uint32(rows*each), kernels.Divisor(each), kernels.Divisor(rows/images)
	return func(x, w, shift, y cuda.Ptr) error {
		a.x, a.w, a.b, a.y = x, w, shift, y
		return launch(b, f, b.items(rows*each), [3]int{elementThreads, 1, 1}, 0, a)
	}, nil
}

// A channelwiseGrad is the pass over x and dy that writes dx and parts of the
// sums Σdy·x and Σdy of each channel.
type channelwiseGrad struct {
	run           func(x, dy, w, dx, part cuda.Ptr) error
	args          *channelwiseGradArgs // of run; a variant sets what it has besides
	defines       []string
	chunks, parts int // of an image, and of all
	c             int
}

func (b *Backend) channelwiseGrad(x engine.Spec, images int, variant ...string) (*channelwiseGrad, error) {
	c := x.Shape[len(x.Shape)-1]
	rows := x.Len() / c / images
	grid, width := normGrid(x, rows, 4*b.multiprocessors()/images)
	g := &channelwiseGrad{defines: append(widthDefines(x, width), variant...), chunks: grid.blocks, parts: images * grid.blocks, c: c}
	if g.parts*c > maxItems {
		return nil, fmt.Errorf("channels of %v: %w: more than %d parts", x, engine.ErrUnsupported, maxItems)
	}
	f, err := b.function("channelwise", "channelwise_grad", g.defines...)
	a := &channelwiseGradArgs{rows: int64(rows), chunk: int64(grid.chunk), chunks: int32(g.chunks), parts: int32(g.parts), c: grid.columns()}
	g.args = a
	all := grid.grid()
	all[0] = g.parts
	g.run = func(x, dy, w, dx, part cuda.Ptr) error {
		a.x, a.dy, a.w, a.dx, a.part = x, dy, w, dx, part
		return launch(b, f, all, grid.block(), 0, a)
	}
	return g, err
}

// ws returns the bytes of the parts.
func (g *channelwiseGrad) ws() int { return 4 * 2 * g.parts * g.c }

// columnTotal makes the launch that adds up the parts of one of the two sums.
func (b *Backend) columnTotal(g *channelwiseGrad) (func(part, y cuda.Ptr, which int) error, error) {
	f, err := b.function("layout", "column_total")
	a := &columnTotalArgs{parts: int32(g.parts), cols: int32(g.c)}
	return func(part, y cuda.Ptr, which int) error {
		a.part, a.y = part+cuda.Ptr(4*which*g.parts*g.c), y
		return launch(b, f, [3]int{ceilDiv(g.c, 32), 1, 1}, [3]int{layoutThreads, 1, 1}, 0, a)
	}, err
}

// factorTotal makes the launch that adds up the parts of Σdy·x for factors w: one
// for each channel, or one for all.
func (b *Backend) factorTotal(g *channelwiseGrad, w engine.Spec) (func(part, dw cuda.Ptr) error, error) {
	if w.Shape[0] != 1 || g.c == 1 {
		total, err := b.columnTotal(g)
		return func(part, dw cuda.Ptr) error { return total(part, dw, 0) }, err
	}
	f, err := b.function("channelwise", "slope_total", g.defines...)
	a := &slopeTotalArgs{n: int64(g.parts * g.c)}
	return func(part, dw cuda.Ptr) error {
		a.part, a.dw = part, dw
		return launch(b, f, [3]int{1, 1, 1}, [3]int{normThreads, 1, 1}, 0, a)
	}, err
}
