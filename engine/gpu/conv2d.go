package gpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A convolution is the geometry of a dense or grouped convolution, named as in
// engine.Conv2D; cg and og are the channels of a group.
type convolution struct {
	n, h, w, c, oh, ow, o, kh, kw, cg, og, groups int
	stride, dilation                              engine.Pair
	top, left                                     int          // padding; what is below and to the right shows in oh and ow
	dtype                                         engine.DType // of x and y
}

func convolutionOf(op engine.Conv2D, x, w, y engine.Spec) (convolution, error) {
	op = op.Complete()
	g := convolution{stride: op.Stride, dilation: op.Dilation, top: op.Pad[0], left: op.Pad[1], groups: op.Groups, dtype: x.DType}
	g.n, g.h, g.w, g.c, _ = x.NHWC()
	_, g.oh, g.ow, g.o, _ = y.NHWC()
	g.kh, g.kw = w.Shape[0], w.Shape[1]
	g.cg, g.og = g.c/g.groups, g.o/g.groups
	// Taps and pictures are counted in 32 bits, pixels outside of a picture too.
	reach := max(g.top+g.kh*g.dilation[0]+g.h+g.oh*g.stride[0], g.left+g.kw*g.dilation[1]+g.w+g.ow*g.stride[1])
	if w.Len() > math.MaxInt32 || g.h*g.w > math.MaxInt32 || g.oh*g.ow > math.MaxInt32 || g.n > math.MaxInt32 || reach > 1<<29 {
		return g, fmt.Errorf("convolution of %v by %v: more than 2^31 weights or pixels of a picture: %w", x, w, engine.ErrUnsupported)
	}
	return g, nil
}

// four reports whether elements can be moved four at a time.
func (g convolution) four() bool { return g.cg%4 == 0 && g.og%4 == 0 }

// conv2DArgs are the arguments of conv2d.cu, field for field.
type conv2DArgs struct {
	x, w, bias, residual, y, part cuda.Ptr
	n, h                          int32
	width                         int32 `c:"w_"`
	c                             int32
	yh, yw, yc                    int32
	in, out                       int32
	kh, kw, cg, o                 int32
	groups                        int32
	rows, cols                    stepping
	tilesM, tilesN                int32
	panels, act                   int32
}

// A stepping says how one axis is stepped over; see conv2d.cu.
type stepping struct{ stride, pad, dilation, phases, step, move int32 }

func newStepping(stride, pad, dilation, extent int, backward bool) stepping {
	s := stepping{int32(stride), int32(pad), int32(dilation), 1, 1, int32(dilation)}
	if backward {
		common := gcd(stride, dilation)
		s.phases, s.step, s.move = int32(min(stride, extent)), int32(stride/common), int32(-dilation/common)
	}
	return s
}

// A gather is a convolution or the gradient of its input as conv2d.cu makes
// them: each element of the destination is a sum over the source.
type gather struct {
	convolution
	backward bool
	epilogue epilogue
}

// args returns the kernel's arguments without the cut and the addresses.
func (g gather) args() conv2DArgs {
	a := conv2DArgs{
		n: int32(g.n), h: int32(g.h), width: int32(g.w), c: int32(g.c), yh: int32(g.oh), yw: int32(g.ow), yc: int32(g.o),
		in: int32(g.cg), out: int32(g.og), kh: int32(g.kh), kw: int32(g.kw), cg: int32(g.cg), o: int32(g.o),
		groups: int32(g.groups), act: int32(g.epilogue.act.Fn),
		rows: newStepping(g.stride[0], g.top, g.dilation[0], g.h, g.backward),
		cols: newStepping(g.stride[1], g.left, g.dilation[1], g.w, g.backward),
	}
	if g.backward {
		a.h, a.width, a.c, a.yh, a.yw, a.yc = a.yh, a.yw, a.yc, a.h, a.width, a.c
		a.in, a.out = a.out, a.in
	}
	return a
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// load returns the products that a tile which covers so many groups makes of g.
func (g gather) load(t tile) load {
	a := g.args()
	taps := ceilDiv(g.kh, int(a.rows.step)) * ceilDiv(g.kw, int(a.cols.step))
	return load{
		m: g.n * ceilDiv(int(a.yh), int(a.rows.phases)) * ceilDiv(int(a.yw), int(a.cols.phases)), n: int(a.out), k: taps * int(a.in),
		products: int(a.rows.phases*a.cols.phases) * ceilDiv(g.groups, t.groups),
		results:  g.n * int(a.yh) * int(a.yw) * int(a.yc),
	}
}

// rank returns the cuts of g, the best by estimate first: of one group a tile,
// and of several where the channels of a group are few.
func (g gather) rank(b *Backend) []ranked {
	all := b.rank(g.load(rowTiles[0]), rowTiles)
	for _, t := range groupTiles {
		if g.groups >= t.groups && int(g.args().out) <= t.slot() {
			all = append(all, b.rank(g.load(t), []tile{t})...)
		}
	}
	slices.SortStableFunc(all, byCycles)
	return all
}

// lower lowers g in a given cut.
func (g gather) lower(b *Backend, c cut) (lowering, error) {
	name := "conv2d"
	if g.backward {
		name = "conv2d_backward_data"
	}
	f, err := b.function("conv2d", name, actDefines(g.epilogue.act, c.defines(g.four(), g.dtype)...)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block, err := c.launch()
	if err != nil {
		return lowering{}, err
	}
	a := g.args()
	a.tilesM, a.tilesN, a.panels = int32(c.tilesM), int32(c.tilesN), int32(c.panels)
	if c.splits == 1 {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			a.x, a.w, a.bias, a.residual, a.y = in[0], in[1], place(in, g.epilogue.bias), place(in, g.epilogue.residual), out[0]
			return launch(b, f, grid, block, 0, &a)
		}}, nil
	}
	results := g.load(c.tile).results
	sum, err := b.newSplitSum(c.splits, results, results, 0, int(a.yc), g.dtype, g.epilogue.act)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: 4 * results * c.splits, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.w, a.part = in[0], in[1], ws
		if err := launch(b, f, grid, block, 0, &a); err != nil {
			return err
		}
		return sum.enqueue(ws, place(in, g.epilogue.bias), place(in, g.epilogue.residual), out[0], 0)
	}}, nil
}

// lowerConv2D lowers a convolution with its epilogue: a pointwise one to a
// product of matrices, the first of a net to kernels of its own.
func (b *Backend) lowerConv2D(op engine.Conv2D, in, out []engine.Spec) (lowering, error) {
	if p, ok := matmulOf(op, in); ok {
		return b.lowerGemm(p, in, out)
	}
	g, err := convolutionOf(op, in[0], in[1], out[0])
	if err != nil {
		return lowering{}, err
	}
	e := epilogueOf(op, len(in))
	if v, ok := g.first(); ok {
		return b.lowerFirstLayer(g, v, e)
	}
	f := gather{convolution: g, epilogue: e}
	return f.lower(b, f.rank(b)[0].cut)
}

// lowerConv2DBackwardData lowers the gradient of a convolution's input.
func (b *Backend) lowerConv2DBackwardData(op engine.Conv2DBackwardData, in, out []engine.Spec) (lowering, error) {
	if p, ok := matmulOf(op, in); ok {
		return b.lowerGemm(p, in, out)
	}
	g, err := convolutionOf(op.Conv2D, out[0], in[1], in[0])
	if err != nil {
		return lowering{}, err
	}
	f := gather{convolution: g, backward: true, epilogue: nothing}
	return f.lower(b, f.rank(b)[0].cut)
}
