package gpu

import (
	"fmt"
	"strconv"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerBatchNorm, engine.BatchNorm{}, engine.BatchNormAct{}, engine.BatchNormBackward{},
		engine.BatchNormActBackward{}, engine.BatchNormEvalBackward{}, engine.FoldBatchNorm{})
}

// What batchnorm*.cu define: the most threads of a block, and the channels that
// a block of a finishing kernel has.
const (
	bnThreads  = 512
	bnChannels = 8
)

// A bnShare is how a pass shares out its rows: threads of a block, and blocks a
// multiprocessor.
type bnShare struct{ threads, each int }

// Passes that leave partial sums have one block a multiprocessor, so that the
// second stage, which adds them up, has little to do. By estimate its threads
// have 32 KiB of loads under way, and an H200's memory needs 22 KiB of each
// multiprocessor (by its data sheet 4.8 TB/s, times 0.6 µs, over 132).
var (
	bnSums     = bnShare{bnThreads, 1}
	bnApplies  = bnShare{bnThreads / 2, 4}
	bnGradOfX  = bnShare{bnThreads / 2, 3}
	bnPoolHalf = 256 // threads of a block of batchnorm_pool.cu
)

// bnPoolMost is the largest window of a fused pool: a thread keeps a whole one
// in registers.
const bnPoolMost = 4

// bnPool returns w, or nil if it pools nothing.
func bnPool(w *engine.Window) (*engine.Window, error) {
	if !fusesPool(w) {
		return nil, fmt.Errorf("fused pooling with window %+v, of which only tiling ones up to %d are there: %w", *w, bnPoolMost, engine.ErrUnsupported)
	}
	if w != nil && !pools(w) {
		return nil, nil
	}
	return w, nil
}

// A bnGrid says how the kernels of batchnorm*.cu share out rows of width
// vectors: see there.
type bnGrid struct {
	rows         uint64
	chunk        uint32 // rows of a block
	width        int32  // vectors of a row
	tile, lines  int32  // threads of a block along a row, and rows at a time
	copies       int32  // columns that a channel has in a row
	blocks, tall int    // blocks along the rows and along a row
	vec          int    // elements of a vector
}

// gridOver cuts rows of width vectors into about `target` blocks of so many
// threads, each at least `least` rows a thread.
func gridOver(rows, width, vec, threads, target, least int) bnGrid {
	g := bnGrid{rows: uint64(rows), width: int32(width), copies: 1, vec: vec}
	g.tall = ceilDiv(width, threads)
	tile := ceilDiv(width, g.tall)
	lines := threads / tile
	chunk := max(ceilDiv(rows, max(target/g.tall, 1)), lines*least)
	chunk = ceilDiv(chunk, lines) * lines
	g.tile, g.lines, g.chunk = int32(tile), int32(lines), uint32(chunk)
	g.blocks = max(ceilDiv(rows, chunk), 1)
	return g
}

// bnGridOf is the grid over all of x.
func (b *Backend) bnGridOf(x engine.Spec, s bnShare) bnGrid {
	c, vec := x.Shape[3], 16/x.DType.Size()
	width := c // vectors of the least common multiple of c and vec
	for width%2 == 0 && width*vec > c && (width/2)*vec%c == 0 {
		width /= 2
	}
	copies := width * vec / c
	g := gridOver(x.Len()/c/copies, width, vec, s.threads, s.each*b.device.Multiprocessors, 4)
	g.copies = int32(copies)
	return g
}

// row returns the elements of a row.
func (g bnGrid) row() int { return int(g.width) * g.vec }

// partBytes returns the bytes of two partial results a block and column.
func (g bnGrid) partBytes() int { return 4 * 2 * g.row() * g.blocks }

func (g bnGrid) grid() [3]int { return [3]int{g.blocks, g.tall, 1} }

// block returns the threads of a block, in whole warps.
func (g bnGrid) block() [3]int { return [3]int{ceilDiv(int(g.tile*g.lines), 32) * 32, 1, 1} }

// bnDefines are the options of the variant for x.
func bnDefines(x engine.Spec, more ...string) []string {
	if x.DType == engine.BFloat16 {
		more = append(more, "-DBF16")
	}
	return more
}

// lowerBatchNorm lowers BatchNorm, its fused forms and its gradients.
func (b *Backend) lowerBatchNorm(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.BatchNorm:
		return b.lowerNormalize(engine.BatchNormAct{BatchNorm: op}, in[0])
	case engine.BatchNormAct:
		return b.lowerNormalize(op, in[0])
	case engine.BatchNormBackward:
		return b.lowerNormalizeBackward(in[0], engine.Identity, nil, bnInputs{gamma: 2, beta: 2, mean: 3, second: 4})
	case engine.BatchNormActBackward:
		at := bnInputs{gamma: 2, beta: 3, mean: 4, second: 5}
		if op.Kept {
			at.kept = 6
		}
		return b.lowerNormalizeBackward(in[0], op.F, op.Pool, at)
	case engine.BatchNormEvalBackward:
		return b.lowerNormalizeBackward(in[0], engine.Identity, nil, bnInputs{gamma: 2, beta: 2, mean: 3, second: 4, eval: true, eps: op.Eps})
	case engine.FoldBatchNorm:
		return b.lowerFoldBatchNorm(op, in[0])
	}
	return lowering{}, unsupported(op)
}

// The arguments of batchnorm.cu, field for field.
type (
	bnStatsArgs struct {
		x, part            cuda.Ptr
		rows               uint64
		chunk              uint32
		width, tile, lines int32
	}
	bnFinishArgs struct {
		x, part, runMean, runVar        cuda.Ptr
		mu, r, newMean, newVar          cuda.Ptr
		m, rows                         uint64
		chunk                           uint32
		blocks, copies, width, channels int32
		eps, momentum                   float32
	}
	bnApplyArgs struct {
		x, y, gamma, beta, mean, second                 cuda.Ptr
		m, rows                                         uint64
		chunk                                           uint32
		width, tile, lines, copies, channels, eval, act int32
		eps                                             float32
	}
	bnFoldArgs struct {
		w, bias, gamma, beta, mean, variance, wout, bout cuda.Ptr
		k, o                                             int32
		eps                                              float32
	}
)

// lowerNormalize lowers BatchNormAct: with statistics of its own three
// launches, with the running ones one.
func (b *Backend) lowerNormalize(op engine.BatchNormAct, x engine.Spec) (lowering, error) {
	pool, err := bnPool(op.Pool)
	if err != nil {
		return lowering{}, err
	}
	apply, err := b.bnApply(op, x, pool)
	if err != nil || !op.BatchNorm.Train {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			return apply(in[0], out[0], in[1], in[2], in[3], in[4], 0)
		}}, err
	}
	stats, err := b.bnStatistics(x, op.BatchNorm.Eps, op.BatchNorm.Momentum)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: stats.ws, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a := &stats.args
		a.runMean, a.runVar = in[3], in[4]
		a.mu, a.r, a.newMean, a.newVar = out[1], out[2], out[3], out[4]
		if err := stats.run(in[0], ws); err != nil {
			return err
		}
		kept := cuda.Ptr(0)
		if op.Keep {
			kept = out[5]
		}
		return apply(in[0], out[0], in[1], in[2], out[1], out[2], kept)
	}}, nil
}

// bnStatistics are the two launches that compute the statistics of a batch. Whoever runs them
// says first, in args, where the running statistics and the results are.
type bnStatistics struct {
	args bnFinishArgs
	ws   int // bytes of scratch memory
	run  func(x, ws cuda.Ptr) error
}

// bnStatistics prepares the launches for x.
func (b *Backend) bnStatistics(x engine.Spec, eps, momentum float32) (*bnStatistics, error) {
	stats, err := b.function("batchnorm", "bn_stats", bnDefines(x)...)
	if err != nil {
		return nil, err
	}
	finish, err := b.function("batchnorm", "bn_finish", bnDefines(x)...)
	if err != nil {
		return nil, err
	}
	c, g := x.Shape[3], b.bnGridOf(x, bnSums)
	sa := bnStatsArgs{rows: g.rows, chunk: g.chunk, width: g.width, tile: g.tile, lines: g.lines}
	s := &bnStatistics{ws: g.partBytes(), args: bnFinishArgs{m: uint64(x.Len() / c), rows: g.rows, chunk: g.chunk, blocks: int32(g.blocks),
		copies: g.copies, width: g.width, channels: int32(c), eps: eps, momentum: momentum}}
	s.run = func(x, ws cuda.Ptr) error {
		sa.x, sa.part = x, ws
		if err := launch(b, stats, g.grid(), g.block(), 0, &sa); err != nil {
			return err
		}
		s.args.x, s.args.part = x, ws
		return launch(b, finish, bnFinishGrid(c), [3]int{bnThreads, 1, 1}, 0, &s.args)
	}
	return s, nil
}

// bnFinishGrid is the grid of the kernels that finish the sums of c channels.
func bnFinishGrid(c int) [3]int { return [3]int{ceilDiv(c, bnChannels), 1, 1} }

// bnApply returns the launch that makes y from x and four vectors: γ, β, the
// mean and, in training, r, else the variance. A pool writes to kept what won, unless
// that is 0.
func (b *Backend) bnApply(op engine.BatchNormAct, x engine.Spec, pool *engine.Window) (func(x, y, gamma, beta, mean, second, kept cuda.Ptr) error, error) {
	eval := int32(1)
	if op.BatchNorm.Train {
		eval = 0
	}
	if pool != nil {
		p, err := b.bnPooling(x, *pool, op.F, "bn_pool", false)
		if err != nil {
			return nil, err
		}
		a := p.args
		a.eval, a.act, a.eps = eval, int32(op.F.Fn), op.BatchNorm.Eps
		return func(x, y, gamma, beta, mean, second, kept cuda.Ptr) error {
			a.x, a.out, a.kept, a.gamma, a.beta, a.mean, a.second = x, y, kept, gamma, beta, mean, second
			return launch(b, p.function, p.grid.grid(), p.grid.block(), 0, &a)
		}, nil
	}
	f, err := b.function("batchnorm", "bn_apply", actDefines(op.F, bnDefines(x)...)...)
	if err != nil {
		return nil, err
	}
	c, g := x.Shape[3], b.bnGridOf(x, bnApplies)
	a := bnApplyArgs{m: uint64(x.Len() / c), rows: g.rows, chunk: g.chunk, width: g.width, tile: g.tile, lines: g.lines, copies: g.copies,
		channels: int32(c), eval: eval, act: int32(op.F.Fn), eps: op.BatchNorm.Eps}
	return func(x, y, gamma, beta, mean, second, _ cuda.Ptr) error {
		a.x, a.y, a.gamma, a.beta, a.mean, a.second = x, y, gamma, beta, mean, second
		return launch(b, f, g.grid(), g.block(), 0, &a)
	}, nil
}

func (b *Backend) lowerFoldBatchNorm(op engine.FoldBatchNorm, w engine.Spec) (lowering, error) {
	f, err := b.function("batchnorm", "bn_fold")
	if err != nil {
		return lowering{}, err
	}
	o := w.Shape[3]
	a := bnFoldArgs{k: int32(w.Len() / o), o: int32(o), eps: op.Eps}
	grid, block := [3]int{ceilDiv(o, 128), min(int(a.k), 64), 1}, [3]int{128, 1, 1}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.w, a.wout, a.bout = in[0], out[0], out[1]
		rest := in[1:]
		if op.Bias {
			a.bias, rest = rest[0], rest[1:]
		}
		a.gamma, a.beta, a.mean, a.variance = rest[0], rest[1], rest[2], rest[3]
		return launch(b, f, grid, block, 0, &a)
	}}, nil
}

// bnPooling is a kernel of batchnorm_pool.cu with what depends on shapes only.
type bnPooling struct {
	function *cuda.Function
	grid     bnGrid
	args     bnPoolArgs
}

// bnPoolArgs are the arguments of batchnorm_pool.cu, field for field.
type bnPoolArgs struct {
	x, dy, out, kept, gamma, beta, mean, second, part, coef cuda.Ptr
	windows                                                 uint64
	chunk                                                   uint32
	width, tile, lines                                      int32
	h, w, oh, ow, ih, iw                                    int32
	stepN, stepI, stepJ                                     int32
	eval, act                                               int32
	eps                                                     float32
}

// bnPooling prepares one of the kernels that walk the windows of pictures x;
// with edges also those that are cut off at the right and at the bottom.
func (b *Backend) bnPooling(x engine.Spec, w engine.Window, act engine.Act, name string, edges bool) (*bnPooling, error) {
	n, h, wd, c, _ := x.NHWC()
	lanes, each := 1, 8 // channels of a thread, blocks a multiprocessor
	switch {
	case c%8 == 0 && x.DType == engine.BFloat16 && w.Kernel[0] == 2:
		lanes, each = 8, 2
	case c%4 == 0:
		lanes, each = 4, 4
	}
	f, err := b.function("batchnorm_pool", name, actDefines(act, bnDefines(x, "-DPOOL="+strconv.Itoa(w.Kernel[0]), "-DLANES="+strconv.Itoa(lanes))...)...)
	if err != nil {
		return nil, err
	}
	p := &bnPooling{function: f}
	k := w.Kernel[0] // square: see fusesPool
	oh, ow := h/k, wd/k
	ih, iw := oh, ow
	if edges {
		ih, iw = ceilDiv(h, k), ceilDiv(wd, k)
	}
	g := gridOver(n*ih*iw, c/lanes, lanes, bnPoolHalf, each*b.device.Multiprocessors, 1)
	p.grid = g
	lines := int(g.lines)
	p.args = bnPoolArgs{windows: g.rows, chunk: g.chunk, width: g.width, tile: g.tile, lines: g.lines,
		h: int32(h), w: int32(wd), oh: int32(oh), ow: int32(ow), ih: int32(ih), iw: int32(iw),
		stepN: int32(lines / iw / ih), stepI: int32(lines / iw % ih), stepJ: int32(lines % iw)}
	return p, nil
}
