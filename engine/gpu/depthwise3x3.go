package gpu

import (
	"math"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

// What depthwise3x3.cu defines.
const (
	marchBlocks = 2  // blocks of depthwiseThreads that a multiprocessor holds at least
	marchMost   = 64 // rows of a strip that are worth having
	marchSums   = 10 // of a lane: nine taps and the bias
)

// The arguments of depthwise3x3.cu, field for field.
type (
	marchArgs struct {
		h, w, oh, ow, c, rows, tile, width, lanes int32
		columns                                   uint32
		byTile, byTiles, byOW, byStrips           kernels.FastDiv
	}
	depthwise3x3Args struct {
		x, residual, w, bias, y cuda.Ptr
		g                       marchArgs
		least, most             float32
		flip                    int32
	}
	depthwise3x3DataArgs struct {
		dy, w, dx cuda.Ptr
		g         marchArgs
	}
	depthwise3x3WeightArgs struct {
		x, dy, partial, dw, db, finished cuda.Ptr
		g                                marchArgs
		blocks                           int32
	}
)

// A marchPlan says how the kernels of depthwise3x3.cu share out the work.
type marchPlan struct {
	args    marchArgs
	lanes   int // channels of a thread
	tiles   int // of lanes
	columns int // blocks that it takes to have each column once, for each tile
}

// block returns the threads of a block, in whole warps.
func (m marchPlan) block() [3]int {
	return [3]int{ceilDiv(int(m.args.tile*m.args.width), 32) * 32, 1, 1}
}

func (m marchPlan) grid() [3]int { return [3]int{m.tiles * m.columns, 1, 1} }

// planMarch chooses the tile of a block and the rows of a strip: those of the
// least cost. It returns false for what depthwise3x3.cu does not have.
func (b *Backend) planMarch(s depthwiseShape, cost func(rows int, m marchPlan) int) (marchPlan, bool) {
	if !s.marches() {
		return marchPlan{}, false
	}
	m := marchPlan{lanes: s.lanes()}
	lanes := s.c / m.lanes
	tile := marchTile(lanes, max(128/(m.lanes*s.dtype.Size()), 1))
	width := depthwiseThreads / tile
	m.tiles = ceilDiv(lanes, tile)
	best, found := 0, math.MaxInt
	for rows := 1; rows <= min(s.oh, marchMost); rows++ {
		m.columns = ceilDiv(s.n*ceilDiv(s.oh, rows)*s.ow, width)
		if c := cost(rows, m); c <= found {
			best, found = rows, c
		}
	}
	strips := ceilDiv(s.oh, best)
	columns := s.n * strips * s.ow
	m.columns = ceilDiv(columns, width)
	if columns > math.MaxInt32 || m.columns*m.tiles > math.MaxInt32 {
		return marchPlan{}, false
	}
	m.args = marchArgs{
		h: int32(s.h), w: int32(s.w), oh: int32(s.oh), ow: int32(s.ow), c: int32(s.c), rows: int32(best),
		tile: int32(tile), width: int32(width), lanes: int32(lanes), columns: uint32(columns),
		byTile: kernels.Divisor(tile), byTiles: kernels.Divisor(m.tiles), byOW: kernels.Divisor(s.ow), byStrips: kernels.Divisor(strips),
	}
	return m, true
}

// marches reports whether depthwise3x3.cu has s: a 3x3 kernel in steps of one or
// two, with one row and one column of padding on each side or, what is the same
// for it, as many pixels as these give.
func (s depthwiseShape) marches() bool {
	step := s.stride[0]
	return s.kh == 3 && s.kw == 3 && s.m == 1 && s.dilation == engine.Both(1) && step <= 2 && s.stride[1] == step &&
		s.top == 1 && s.left == 1 && s.oh == (s.h-1)/step+1 && s.ow == (s.w-1)/step+1
}

// marchTile returns how many of so many lanes a block takes: from a line of
// memory up to two, so that few threads are idle.
func marchTile(lanes, line int) int {
	best, found := 0, math.MaxInt
	for t := min(line, lanes); t <= min(2*line, lanes, depthwiseThreads); t++ {
		// Threads for a column, times blockDim.
		if c := ceilDiv(lanes, t) * t * depthwiseThreads * depthwiseThreads / (depthwiseThreads / t * t); c < found {
			best, found = t, c
		}
	}
	return best
}

// slots returns how many blocks the device runs at once.
func (b *Backend) slots() int { return max(marchBlocks*b.device.Multiprocessors, 1) }

// A block's time in rows: those of the strip, and what it takes to begin.
const (
	marchHalo  = 2 // rows of x above and below
	marchStart = 3
)

// costForward is the cost of kernels whose blocks have one strip a thread: the
// turns that the device takes, times a block's time.
func (b *Backend) costForward(s depthwiseShape) func(rows int, m marchPlan) int {
	batch := 2 * marchPairs(s.lanes(), s.dtype)
	return func(rows int, m marchPlan) int {
		turns := ceilDiv(m.tiles*m.columns, b.slots())
		return turns * (ceilDiv(rows+marchHalo, batch)*batch + marchStart)
	}
}

// costWeight is the cost of the gradient for w, whose blocks stay.
func (b *Backend) costWeight(s depthwiseShape) func(rows int, m marchPlan) int {
	batch := marchPairs(s.lanes(), s.dtype)
	return func(rows int, m marchPlan) int {
		turns := ceilDiv(m.columns, b.share(m))
		return turns * (ceilDiv(rows+marchHalo, batch)*batch + 1)
	}
}

// marchPairs returns the rows that a thread of the gradient for w has under
// way: PAIRS of depthwise3x3.cu. The other kernels have twice as many.
func marchPairs(lanes int, d engine.DType) int {
	pairs := 4 / d.Size()
	if lanes == 1 {
		pairs *= 2
	}
	return pairs
}

// share returns the blocks that share a tile in the gradient for w.
func (b *Backend) share(m marchPlan) int { return max(min(m.columns, b.slots()/m.tiles), 1) }

func (b *Backend) lowerDepthwise3x3(s depthwiseShape, m marchPlan, act engine.Act, rest func([]cuda.Ptr) (bias, residual cuda.Ptr)) (lowering, error) {
	name := "depthwise3x3"
	if s.stride[0] == 2 {
		name = "depthwise3x3_stride2"
	}
	f, err := b.function("depthwise3x3", name, actDefines(act, s.defines(m.lanes)...)...)
	if err != nil {
		return lowering{}, err
	}
	least, most, _ := act.Clamps()
	a := depthwise3x3Args{g: m.args, least: least, most: most}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.w, a.y = in[0], in[1], out[0]
		a.bias, a.residual = rest(in)
		return launch(b, f, m.grid(), m.block(), 0, &a)
	}}, nil
}

// lowerDepthwise3x3Data: at stride one, the gradient for x is the convolution
// of dy with the kernel turned round.
func (b *Backend) lowerDepthwise3x3Data(s depthwiseShape, m marchPlan) (lowering, error) {
	name := "depthwise3x3"
	if s.stride[0] == 2 {
		name = "depthwise3x3_stride2_data"
	}
	f, err := b.function("depthwise3x3", name, s.defines(m.lanes)...)
	if err != nil {
		return lowering{}, err
	}
	if s.stride[0] == 2 {
		a := depthwise3x3DataArgs{g: m.args}
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			a.dy, a.w, a.dx = in[0], in[1], out[0]
			return launch(b, f, m.grid(), m.block(), 0, &a)
		}}, nil
	}
	least, most, _ := engine.Identity.Clamps()
	a := depthwise3x3Args{g: m.args, least: least, most: most, flip: 1}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.w, a.y = in[0], in[1], out[0]
		return launch(b, f, m.grid(), m.block(), 0, &a)
	}}, nil
}

func (b *Backend) lowerDepthwise3x3Weight(s depthwiseShape, m marchPlan) (lowering, error) {
	name := "depthwise3x3_weight"
	if s.stride[0] == 2 {
		name = "depthwise3x3_stride2_weight"
	}
	f, err := b.function("depthwise3x3", name, s.defines(m.lanes)...)
	if err != nil {
		return lowering{}, err
	}
	blocks, tile := b.share(m), int(m.args.tile)
	finished, err := b.counters(m.tiles)
	if err != nil {
		return lowering{}, err
	}
	a := depthwise3x3WeightArgs{g: m.args, blocks: int32(blocks), finished: finished}
	vec := 4 * m.lanes
	shared := marchSums * tile * int(m.args.width) * vec
	return lowering{ws: m.tiles * blocks * marchSums * tile * vec, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.dy, a.partial, a.dw, a.db = in[0], in[1], ws, out[0], 0
		if len(out) > 1 {
			a.db = out[1]
		}
		return launch(b, f, [3]int{m.tiles * blocks, 1, 1}, m.block(), shared, &a)
	}}, nil
}
