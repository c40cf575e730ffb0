package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerLayerNorm(op.(engine.LayerNorm), in[0])
	}, engine.LayerNorm{})
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerLayerNormBackward(op.(engine.LayerNormBackward), in[0])
	}, engine.LayerNormBackward{})
}

// normThreads is NORM_THREADS of columns.cuh.
const normThreads = 256

// The arguments of layernorm.cu, field for field.
type (
	layerNormArgs struct {
		x, dy, gamma, beta, y, stats cuda.Ptr
		rows                         int64
		vectors                      int32
		eps                          float32
	}
	layerNormGradArgs struct {
		x, dy, stats, part cuda.Ptr
		rows, chunk        int64
		c                  normColumns
	}
)

// normColumns is columns of columns.cuh.
type normColumns struct{ vectors, tile, lines int32 }

// normGrid cuts rows of x's channels into about so many parts, and returns how
// many channels a thread takes.
func normGrid(x engine.Spec, rows, parts int) (g bnGrid, width int) {
	width = poolWidth(x)
	return gridOver(rows, x.Shape[len(x.Shape)-1]/width, width, normThreads, max(parts, 1), 4), width
}

func (g bnGrid) columns() normColumns { return normColumns{g.width, g.tile, g.lines} }

// rowsBlocks returns the grid in which each warp has a row.
func (b *Backend) rowsBlocks(rows int) [3]int {
	return [3]int{b.resident(rows, normThreads/32, elementBlocks), 1, 1}
}

func (b *Backend) lowerLayerNorm(op engine.LayerNorm, x engine.Spec) (lowering, error) {
	width := poolWidth(x)
	f, err := b.function("layernorm", "layer_norm", widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	c := x.Shape[len(x.Shape)-1]
	rows := x.Len() / c
	a := &layerNormArgs{rows: int64(rows), vectors: int32(c / width), eps: op.Eps}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.gamma, a.beta, a.y = in[0], in[1], in[2], out[0]
		return launch(b, f, b.rowsBlocks(rows), [3]int{normThreads, 1, 1}, 0, a)
	}}, nil
}

// lowerLayerNormBackward lowers the gradient: a pass over the rows that writes dx
// and keeps their statistics, one that adds up parts of dγ and dβ, and the sums
// of these.
func (b *Backend) lowerLayerNormBackward(op engine.LayerNormBackward, x engine.Spec) (lowering, error) {
	c := x.Shape[len(x.Shape)-1]
	rows := x.Len() / c
	g, width := normGrid(x, rows, 4*b.multiprocessors())
	dx, err := b.function("layernorm", "layer_norm_dx", widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	grad, err := b.function("layernorm", "layer_norm_grad", widthDefines(x, width)...)
	if err != nil {
		return lowering{}, err
	}
	total, err := b.normTotal(c, g.blocks)
	if err != nil {
		return lowering{}, err
	}
	a := &layerNormArgs{rows: int64(rows), vectors: int32(c / width), eps: op.Eps}
	ga := &layerNormGradArgs{rows: int64(rows), chunk: int64(g.chunk), c: g.columns()}
	stats := roundUp(4 * 2 * rows)
	return lowering{ws: stats + 4*2*g.blocks*c, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.dy, a.gamma, a.y, a.stats = in[0], in[1], in[2], out[0], ws
		if err := launch(b, dx, b.rowsBlocks(rows), [3]int{normThreads, 1, 1}, 0, a); err != nil {
			return err
		}
		ga.x, ga.dy, ga.stats, ga.part = in[0], in[1], ws, ws+cuda.Ptr(stats)
		if err := launch(b, grad, g.grid(), g.block(), 0, ga); err != nil {
			return err
		}
		return total(ga.part, out)
	}}, nil
}

// normTotal makes the launches that add up the parts [2,parts,c] of dγ and dβ, an
// op's second and third output.
func (b *Backend) normTotal(c, parts int) (func(part cuda.Ptr, out []cuda.Ptr) error, error) {
	f, err := b.function("layout", "column_total")
	if err != nil {
		return nil, err
	}
	a := &columnTotalArgs{parts: int32(parts), cols: int32(c)}
	return func(part cuda.Ptr, out []cuda.Ptr) error {
		for k, y := range out[1:3] {
			a.part, a.y = part+cuda.Ptr(4*k*parts*c), y
			if err := launch(b, f, [3]int{ceilDiv(c, 32), 1, 1}, [3]int{layoutThreads, 1, 1}, 0, a); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
