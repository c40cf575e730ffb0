package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A tile is a variant of the matrix products of tile.cuh: what a block makes of
// the result, what a thread makes of it, and how many terms a panel has. The
// panel's terms serve groups groups at once; slices threads share each term.
type tile struct {
	m, n, threadM, threadN int
	k                      int
	groups, slices         int
}

// The tiles for products with many rows, a row being a pixel or a sample.
var rowTiles = []tile{
	{128, 128, 8, 8, 8, 1, 1},
	{128, 64, 8, 8, 8, 1, 1},
	{64, 64, 8, 4, 8, 1, 1},
	{128, 32, 8, 4, 8, 1, 1},
	{128, 16, 8, 4, 8, 1, 1},
}

// The tiles for convolutions with few channels in a group.
var groupTiles = []tile{
	{128, 32, 8, 4, 16, 2, 1},
	{128, 32, 8, 4, 16, 4, 1},
	{128, 16, 8, 4, 16, 2, 1},
}

// The tiles for gradients of weights.
var weightTiles = []tile{
	{128, 128, 8, 8, 8, 1, 1},
	{128, 64, 8, 8, 8, 1, 1},
	{64, 64, 8, 4, 8, 1, 1},
	{64, 32, 8, 4, 8, 1, 1},
	{32, 32, 4, 4, 8, 1, 1},
}

// The tiles for gradients of the weights of a 3x3 kernel with few channels in a
// group: 72 rows are nine taps of eight channels.
var groupWeightTiles = []tile{
	{72, 8, 8, 4, 32, 1, 16},
	{72, 16, 8, 4, 32, 1, 8},
}

// threads returns the threads of a block.
func (t tile) threads() int { return t.m / t.threadM * (t.n / t.threadN) * t.slices }

// depth returns the terms of each element that a panel has.
func (t tile) depth() int { return t.k / t.groups }

// slot returns the columns that a group has.
func (t tile) slot() int { return t.n / t.groups }

// defines returns the options of the variant; with four, elements move four at
// a time.
func (t tile) defines(four bool, d engine.DType) []string {
	all := []string{fmt.Sprint("TILE_M=", t.m), fmt.Sprint("TILE_N=", t.n), fmt.Sprint("THREAD_M=", t.threadM), fmt.Sprint("THREAD_N=", t.threadN),
		fmt.Sprint("TILE_K=", t.k), fmt.Sprint("GROUPS=", t.groups), fmt.Sprint("SLICES=", t.slices)}
	if four {
		all = append(all, "FOUR")
	}
	return append(all, typeDefines(d)...)
}

// A cut divides products into tiles, and their sums into splits.
type cut struct {
	tile
	tilesM, tilesN int // of one product
	products       int // tiles of equal products that are made at once
	panels         int // of one split
	splits         int
}

// A load is a number of equal products m x n of k terms each that a kernel makes
// in one launch.
type load struct {
	m, n, k  int
	products int
	results  int // elements of all the results together
}

// cut returns the cut of l into tiles and about so many splits.
func (l load) cut(t tile, splits int) cut {
	all := max(ceilDiv(l.k, t.depth()), 1)
	c := cut{tile: t, tilesM: ceilDiv(l.m, t.m), tilesN: ceilDiv(l.n, t.slot()), products: l.products}
	c.panels = ceilDiv(all, max(splits, 1))
	c.splits = ceilDiv(all, c.panels)
	return c
}

func (c cut) blocks() int { return c.tilesM * c.tilesN * c.products * c.splits }

// launch returns the grid and block of the kernels, which count their tiles in
// one dimension.
func (c cut) launch() (grid, block [3]int, err error) {
	n := c.blocks()
	if n > math.MaxInt32 || c.panels > math.MaxInt32/c.k {
		return grid, block, fmt.Errorf("%d tiles of %d panels are beyond a grid: %w", n, c.panels, engine.ErrUnsupported)
	}
	return [3]int{n, 1, 1}, [3]int{c.threads(), 1, 1}, nil
}

// What cost assumes of a multiprocessor, in cycles: guesses, until a card has
// been asked (docs/gpu-results.md).
const (
	fmaRate     = 128     // products a cycle
	idleWarps   = 3       // it does w/(w+idleWarps) of its best with w warps at once
	mostWarps   = 16      // at once
	memoryRate  = 12      // bytes a cycle
	blockCycles = 1500    // before a block's first product and behind its last
	stageCycles = 5000    // another launch
	partialMost = 1 << 26 // bytes of partial results
)

// cost estimates the cycles that a cut takes on so many multiprocessors. Its
// only use is to compare cuts.
func (l load) cost(c cut, multiprocessors int) float64 {
	rate := map[int]float64{64: 1, 32: 0.85, 16: 0.6}[c.threadM*c.threadN]
	if c.slices > 1 {
		rate *= 0.8
	}
	work := float64(c.m*c.n*c.depth()*c.panels)/fmaRate/rate + blockCycles*float64(c.threads())/256
	each := float64(ceilDiv(c.blocks(), multiprocessors))
	warps := min(each*float64(c.threads())/32, mostWarps)
	cycles := each*work*(warps+idleWarps)/warps + blockCycles
	if c.splits > 1 {
		cycles += stageCycles + 8*float64(l.results*c.splits)/memoryRate/float64(multiprocessors)
	}
	return cycles
}

// splitCounts are the numbers of splits that best considers.
var splitCounts = []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}

// A ranked cut has the cycles that cost estimates.
type ranked struct {
	cut
	cycles float64
}

// rank returns for each tile the cut of l that takes the fewest cycles by cost,
// the best first.
func (b *Backend) rank(l load, tiles []tile) []ranked {
	all := make([]ranked, 0, len(tiles))
	for _, t := range tiles {
		best := ranked{cycles: math.Inf(1)}
		for _, n := range splitCounts {
			try := l.cut(t, n)
			if n > 1 && (try.splits < n*3/4 || try.panels < 4 || 4*l.results*try.splits > partialMost) {
				break
			}
			if now := l.cost(try, b.multiprocessors()); now < best.cycles {
				best = ranked{try, now}
			}
		}
		all = append(all, best)
	}
	slices.SortStableFunc(all, byCycles)
	return all
}

func byCycles(x, y ranked) int { return cmp.Compare(x.cycles, y.cycles) }

// The arguments of split_sum.cu, field for field.
type splitSumArgs struct {
	part, bias, residual, y, tail cuda.Ptr
	stride, count                 int64
	more, splits, channels, act   int32
}

// A splitSum adds partial results: the second stage of what was cut into splits.
type splitSum struct {
	b    *Backend
	f    *cuda.Function
	grid [3]int
	args splitSumArgs
	// block is of one size for few splits and of another for many.
	block [3]int
}

// newSplitSum makes the stage for count elements of y, of type d with so many
// channels, and more of the tail.
func (b *Backend) newSplitSum(splits, stride, count, more, channels int, d engine.DType, act engine.Act) (*splitSum, error) {
	warps := 4
	if splits > 16 {
		warps = 32
	}
	f, err := b.function("split_sum", "split_sum", actDefines(act, append(typeDefines(d), fmt.Sprint("WARPS=", warps))...)...)
	if err != nil {
		return nil, err
	}
	s := &splitSum{b: b, f: f, grid: [3]int{ceilDiv(count+more, 32), 1, 1}, block: [3]int{32 * warps, 1, 1}}
	s.args = splitSumArgs{stride: int64(stride), count: int64(count), more: int32(more), splits: int32(splits), channels: int32(channels), act: int32(act.Fn)}
	return s, nil
}

// enqueue adds up part.
func (s *splitSum) enqueue(part, bias, residual, y, tail cuda.Ptr) error {
	s.args.part, s.args.bias, s.args.residual, s.args.y, s.args.tail = part, bias, residual, y, tail
	return launch(s.b, s.f, s.grid, s.block, 0, &s.args)
}

// place returns the input that an epilogue names, zero if none.
func place(in []cuda.Ptr, k int) cuda.Ptr {
	if k < 0 {
		return 0
	}
	return in[k]
}
