package gpu

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerPool, engine.MaxPool2D{}, engine.MaxPool2DBackward{}, engine.MaxPool2DWinners{}, engine.MaxPool2DWinnersBackward{}, engine.AvgPool2D{}, engine.AvgPool2DBackward{},
		engine.GlobalAvgPool{}, engine.GlobalAvgPoolBackward{})
}

// maxItems bounds what a kernel counts in 32 bits (kernels.FastDiv takes 31),
// with room for a grid's stride beyond the last item.
const maxItems = 1<<31 - 1<<24

// globalThreads is the block of global_avg_pool.
const globalThreads = 256

// The arguments of pool2d.cu, field for field.
type (
	poolArgs struct {
		x, dy, y, won                           cuda.Ptr
		items                                   uint32
		h, w, oh, ow, c, kh, kw                 int32
		sh, sw, top, left, dilationH, dilationW int32
		below, beside, exclude                  int32
		scale                                   float32
		byC, byCol, byRow, bySH, bySW           kernels.FastDiv
	}
	globalAvgPoolArgs struct {
		x, y              cuda.Ptr
		blocks            uint32
		pixels, c, chunks int32
		scale             float32
	}
	globalAvgPoolBackwardArgs struct {
		dy, dx       cuda.Ptr
		items        uint32
		c            int32
		scale        float32
		byC, byImage kernels.FastDiv
	}
)

// lowerPool lowers the pooling ops.
func (b *Backend) lowerPool(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.MaxPool2D:
		return b.lowerWindows("max_pool", newPooling(op.Window, in[0], out[0]), false)
	case engine.AvgPool2D:
		return b.lowerWindows("avg_pool", newMean(op, in[0], out[0]), false)
	case engine.AvgPool2DBackward:
		return b.lowerWindows("avg_pool_backward", newMean(op.AvgPool2D, op.X, in[0]), true)
	case engine.MaxPool2DWinners:
		return b.lowerMaxPoolWinners(op.Window, in[0], out[0])
	case engine.MaxPool2DBackward:
		return b.lowerMaxPoolBackward(op.Window, in[0], in[1])
	case engine.MaxPool2DWinnersBackward:
		return b.lowerMaxPoolWinnersBackward(op.Window, op.X, in[1])
	case engine.GlobalAvgPool:
		return b.lowerGlobalAvgPool(op, in[0])
	case engine.GlobalAvgPoolBackward:
		return b.lowerGlobalAvgPoolBackward(op.GlobalAvgPool, op.X)
	}
	return lowering{}, unsupported(op)
}

// A pooling is the geometry of a pooling kernel, and how its work is cut.
type pooling struct {
	x, y    engine.Spec // the large and the small side
	args    poolArgs
	width   int // channels of a thread
	defines []string
	small   int // items of an image of the small side
	large   int // and of the large one
}

// poolWidth returns how many channels a thread takes.
func poolWidth(x engine.Spec) int {
	c := x.Shape[len(x.Shape)-1]
	for _, w := range []int{vector(x), 4} {
		if c%w == 0 {
			return w
		}
	}
	return 1
}

// widthDefines returns the macros for x's element type and w channels a thread.
func widthDefines(x engine.Spec, w int) []string {
	return append(stored(x), fmt.Sprintf("-DWIDTH=%d", w))
}

func newPooling(w engine.Window, x, y engine.Spec) pooling {
	w = w.Complete()
	p := pooling{x: x, y: y, width: poolWidth(x)}
	p.defines = widthDefines(x, p.width)
	kh, kw := w.Kernel[0], w.Kernel[1]
	if kh*kw > 256 { // a place in the window is no byte
		p.defines = append(p.defines, "-DWINNER=int")
	}
	if w.Dilation != engine.Both(1) {
		p.defines = append(p.defines, "-DDILATED")
	}
	c := x.Shape[3] / p.width
	p.args = poolArgs{h: int32(x.Shape[1]), w: int32(x.Shape[2]), oh: int32(y.Shape[1]), ow: int32(y.Shape[2]), c: int32(c),
		kh: int32(kh), kw: int32(kw), sh: int32(w.Stride[0]), sw: int32(w.Stride[1]), top: int32(w.Pad[0]), left: int32(w.Pad[1]),
		dilationH: int32(w.Dilation[0]), dilationW: int32(w.Dilation[1]),
		below: int32(x.Shape[1] + w.Pad[2]), beside: int32(x.Shape[2] + w.Pad[3]), scale: float32(1 / float64(kh*kw)),
		byC: kernels.Divisor(c), bySH: kernels.Divisor(w.Stride[0]), bySW: kernels.Divisor(w.Stride[1])}
	p.small, p.large = y.Shape[1]*y.Shape[2]*c, x.Shape[1]*x.Shape[2]*c
	return p
}

// newMean is newPooling for means, whose divisors may differ.
func newMean(op engine.AvgPool2D, x, y engine.Spec) pooling {
	p := newPooling(op.Window, x, y)
	p.args.exclude = flag(op.ExcludePad)
	for axis, k := range op.Kernel {
		for _, d := range op.Divisors(axis, x.Shape[1+axis]) {
			if d != k && !slices.Contains(p.defines, "-DDIVISOR") {
				p.defines = append(p.defines, "-DDIVISOR")
			}
		}
	}
	return p
}

// over lets the threads run over rows×cols vectors of channels an image.
func (p *pooling) over(rows, cols int) {
	p.args.byRow, p.args.byCol = kernels.Divisor(rows), kernels.Divisor(cols)
}

// winnerBytes returns the bytes of a window's winner, of each channel.
func (p *pooling) winnerBytes() int {
	if p.args.kh*p.args.kw > 256 {
		return 4
	}
	return 1
}

// A pass is one kernel of a pooling over a number of items an image.
type pass struct {
	f     *cuda.Function
	each  int // items an image
	batch int // images of a launch: as many as a kernel can count
}

func (b *Backend) poolPass(p *pooling, name string, each int) (pass, error) {
	if each > maxItems {
		return pass{}, fmt.Errorf("pooling %v: %w: an image has more than %d elements", p.x, engine.ErrUnsupported, maxItems)
	}
	f, err := b.function("pool2d", name, p.defines...)
	return pass{f, each, maxItems / each}, err
}

// run launches the pass, in parts if the batch is very large. a holds the
// addresses of the whole batch and is left as it was.
func (p *pooling) run(b *Backend, s pass, a *poolArgs) error {
	whole := *a
	size := p.x.DType.Size() * p.width
	n := p.x.Shape[0]
	for at := 0; at < n; at += s.batch {
		images := min(s.batch, n-at)
		a.items = uint32(images * s.each)
		large, small := at*p.large, at*p.small
		a.x, a.dy = advance(whole.x, large*size), advance(whole.dy, small*size)
		a.won = advance(whole.won, small*p.width*p.winnerBytes())
		a.y = advance(whole.y, at*p.writes(whole)*size)
		grid := [3]int{b.resident(images*s.each, elementThreads, elementBlocks), 1, 1}
		if err := launch(b, s.f, grid, [3]int{elementThreads, 1, 1}, 0, a); err != nil {
			return err
		}
	}
	*a = whole
	return nil
}

// writes returns the items an image of the side that y is: the small one unless
// dy is given.
func (p *pooling) writes(a poolArgs) int {
	if a.dy != 0 {
		return p.large
	}
	return p.small
}

// advance moves an address, but not that of nothing.
func advance(p cuda.Ptr, bytes int) cuda.Ptr {
	if p == 0 {
		return 0
	}
	return p + cuda.Ptr(bytes)
}

// lowerWindows lowers a pooling of one pass: from x to y, or backward from y to x.
func (b *Backend) lowerWindows(name string, p pooling, backward bool) (lowering, error) {
	each := p.small
	if backward {
		each = p.large
		p.over(p.x.Shape[1], p.x.Shape[2])
	} else {
		p.over(p.y.Shape[1], p.y.Shape[2])
	}
	s, err := b.poolPass(&p, name, each)
	if err != nil {
		return lowering{}, err
	}
	a := &p.args
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.y = out[0]
		if backward {
			a.dy = in[0]
		} else {
			a.x = in[0]
		}
		return p.run(b, s, a)
	}}, nil
}

// lowerMaxPoolWinners lowers a max pool that says which element won.
func (b *Backend) lowerMaxPoolWinners(w engine.Window, x, y engine.Spec) (lowering, error) {
	p := newPooling(w, x, y)
	p.over(y.Shape[1], y.Shape[2])
	s, err := b.poolPass(&p, "max_pool", p.small)
	a := &p.args
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y, a.won = in[0], out[0], out[1]
		return p.run(b, s, a)
	}}, err
}

// cells prepares the gradient of a max pool of which no two windows overlap: it is made
// cell by cell. ok is false where they do.
func (b *Backend) cells(w engine.Window, x, y engine.Spec) (p pooling, s pass, ok bool, err error) {
	w, p = w.Complete(), newPooling(w, x, y)
	if w.Pad != (engine.Pads{}) || w.Dilation != engine.Both(1) || w.Kernel[0] > w.Stride[0] || w.Kernel[1] > w.Stride[1] {
		return p, s, false, nil
	}
	rows, cols := ceilDiv(x.Shape[1], w.Stride[0]), ceilDiv(x.Shape[2], w.Stride[1])
	p.over(rows, cols)
	s, err = b.poolPass(&p, "max_pool_backward_cells", rows*cols*int(p.args.c))
	return p, s, true, err
}

// gathering prepares the gradient of a max pool of any windows, from which element won.
func (b *Backend) gathering(w engine.Window, x, y engine.Spec) (pooling, pass, error) {
	p := newPooling(w, x, y)
	p.over(x.Shape[1], x.Shape[2])
	s, err := b.poolPass(&p, "max_pool_backward", p.large)
	return p, s, err
}

// lowerMaxPoolWinnersBackward lowers the gradient of a max pool that has said which element won.
func (b *Backend) lowerMaxPoolWinnersBackward(w engine.Window, x, y engine.Spec) (lowering, error) {
	p, s, ok, err := b.cells(w, x, y)
	if !ok {
		p, s, err = b.gathering(w, x, y)
	}
	a := &p.args
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.won, a.dy, a.y = in[0], in[1], out[0]
		return p.run(b, s, a)
	}}, err
}

// lowerMaxPoolBackward lowers the gradient of a max pool: to one pass where no
// windows overlap, else to one that finds the windows' winners and one that
// gathers.
func (b *Backend) lowerMaxPoolBackward(w engine.Window, x, y engine.Spec) (lowering, error) {
	cells, s, ok, err := b.cells(w, x, y)
	if ok || err != nil {
		a := &cells.args
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			a.x, a.dy, a.y = in[0], in[1], out[0]
			return cells.run(b, s, a)
		}}, err
	}
	p := newPooling(w, x, y)
	p.over(y.Shape[1], y.Shape[2])
	find, err := b.poolPass(&p, "max_pool", p.small)
	if err != nil {
		return lowering{}, err
	}
	g, gather, err := b.gathering(w, x, y)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: y.Len() * p.winnerBytes(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		p.args.x, p.args.won = in[0], ws
		g.args.dy, g.args.won, g.args.y = in[1], ws, out[0]
		if err := p.run(b, find, &p.args); err != nil {
			return err
		}
		return g.run(b, gather, &g.args)
	}}, nil
}

// lowerGlobalAvgPool gives a block as many channels as a warp can read side by
// side, and its other threads further pixels.
func (b *Backend) lowerGlobalAvgPool(op engine.GlobalAvgPool, x engine.Spec) (lowering, error) {
	width := poolWidth(x)
	f, err := b.function("pool2d", "global_avg_pool", meanDefines(op, x, width)...)
	if err != nil {
		return lowering{}, err
	}
	n, h, w, c, _ := x.NHWC()
	columns := 1
	for columns < 32 && columns*width < c {
		columns *= 2
	}
	chunks := ceilDiv(c, columns*width)
	if n*chunks > maxItems {
		return lowering{}, fmt.Errorf("pooling %v: %w: more than %d parts", x, engine.ErrUnsupported, maxItems)
	}
	a := &globalAvgPoolArgs{blocks: uint32(n * chunks), pixels: int32(h * w), c: int32(c / width), chunks: int32(chunks),
		scale: 1 / float32(h*w)}
	grid := [3]int{b.resident(n*chunks, 1, elementBlocks), 1, 1}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		return launch(b, f, grid, [3]int{columns, globalThreads / columns, 1}, 0, a)
	}}, nil
}

// meanDefines are widthDefines of the mean of a whole picture.
func meanDefines(op engine.GlobalAvgPool, x engine.Spec, width int) []string {
	d := widthDefines(x, width)
	if op.KeepDims {
		d = append(d, "-DKEEP_DIMS")
	}
	return d
}

func (b *Backend) lowerGlobalAvgPoolBackward(op engine.GlobalAvgPool, x engine.Spec) (lowering, error) {
	width, means := poolWidth(x), 4 // bytes of an element of dy
	f, err := b.function("pool2d", "global_avg_pool_backward", meanDefines(op, x, width)...)
	if op.KeepDims {
		means = x.DType.Size()
	}
	if err != nil {
		return lowering{}, err
	}
	n, h, w, c, _ := x.NHWC()
	c /= width
	if h*w*c > maxItems {
		return lowering{}, fmt.Errorf("pooling %v: %w: an image has more than %d elements", x, engine.ErrUnsupported, maxItems)
	}
	each, size := h*w*c, x.DType.Size()
	batch := maxItems / each
	a := &globalAvgPoolBackwardArgs{c: int32(c), scale: 1 / float32(h*w), byC: kernels.Divisor(c), byImage: kernels.Divisor(each)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		for at := 0; at < n; at += batch {
			images := min(batch, n-at)
			a.items = uint32(images * each)
			a.dy, a.dx = in[0]+cuda.Ptr(means*at*c*width), out[0]+cuda.Ptr(at*each*width*size)
			grid := [3]int{b.resident(images*each, elementThreads, elementBlocks), 1, 1}
			if err := launch(b, f, grid, [3]int{elementThreads, 1, 1}, 0, a); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}
