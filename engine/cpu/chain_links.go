package cpu

import (
	"fmt"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// What a link of a chain runs, as in args.h.
const (
	chainPad = iota
	chainRGB
	chainRGBPool // with a max pool of 2x2
	chainProduct
	chainDepthwise
	chainMaxPool
	chainAvgPool
)

// A link is one kernel of a chain: of an op, or the padding before it.
type link struct {
	chainLink
	needs []engine.Span // for each row of y, the rows of x: First and End
	flat  []int64       // needs, as the kernel takes them
	width int           // pixels of a row of y
	work  float64       // about how long a row takes, in multiplications of a matrix product
	// args keeps the arguments of one run, for the chain's inputs.
	args linkArgs
	// poolable says that a max pool of 2x2 may be a part of the kernel.
	poolable bool
	// Of a product: which input its weights are, and where they lie packed, in floats.
	product *product
	w, at   int
}

type linkArgs func(q *queue, in []engine.Tensor, packed unsafe.Pointer) unsafe.Pointer

// add appends an op, whose inputs but x are from `extra` on among the chain's.
func (c *chain) add(op engine.Op, extra int, in []engine.Spec, out engine.Spec) error {
	x := in[0]
	if len(x.Shape) != 4 || len(out.Shape) != 4 {
		return fmt.Errorf("%s in a chain: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	if mixed(in) {
		return fmt.Errorf("%s of bfloat16 in a chain: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	switch op := op.(type) {
	case engine.Conv2D:
		return c.addConv2D(op, extra, in, out)
	case engine.MaxPool2D:
		c.addPool(chainMaxPool, maxPooling(op.Window, x), x, out)
	case engine.AvgPool2D:
		c.addPool(chainAvgPool, avgPooling(op, x), x, out)
	default:
		return fmt.Errorf("%s in a chain: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	return nil
}

// pushLink appends a link from pictures of h rows of `in` floats to oh rows of ow
// pixels, of `out` floats together.
func (c *chain) pushLink(kind int64, h, in, oh, ow, out int, needs []engine.Span, args linkArgs) *link {
	needs = clampSpans(needs, h)
	l := &link{needs: needs, flat: flatNeeds(needs), width: ow, args: args, work: 8 * float64(out)}
	l.kind, l.in, l.out, l.rows = kind, int64(in), int64(out), int64(oh)
	c.links = append(c.links, l)
	return l
}

// clampSpans moves rows that lie outside of [0, h), as those of padding do, to
// the nearest inside, and lets no span begin behind one that follows it or end
// before one that it follows, as those of dilated windows at the edges may.
func clampSpans(spans []engine.Span, h int) []engine.Span {
	clamped := make([]engine.Span, len(spans))
	for i, s := range spans {
		first := min(max(s.First, 0), h-1)
		clamped[i] = engine.Span{First: first, End: min(max(s.End, first+1), h)}
		if i > 0 {
			clamped[i].End = max(clamped[i].End, clamped[i-1].End)
		}
	}
	for i := len(clamped) - 2; i >= 0; i-- {
		clamped[i].First = min(clamped[i].First, clamped[i+1].First)
	}
	return clamped
}

// needs returns the rows of x for each row of y.
func (g geometry) needs() []engine.Span {
	spans := make([]engine.Span, g.oh)
	for i := range spans {
		first := i*g.stride[0] - g.pad[0]
		spans[i] = engine.Span{First: first, End: first + g.dil[0]*(g.kh-1) + 1}
	}
	return spans
}

// operands returns where a convolution's bias and residual lie among the inputs
// of the chain; -1 for one that it has not.
func operands(e engine.Epilogue, extra, inputs int) (bias, res int) {
	bias, res = -1, -1
	if e.Residual {
		inputs--
		res = extra + inputs - 1
	}
	if inputs > 2 {
		bias = extra + 1
	}
	return bias, res
}

// input returns the address of input i, null for -1.
func input(in []engine.Tensor, i int) unsafe.Pointer {
	if i < 0 {
		return nil
	}
	return at(in[i])
}

func (c *chain) addConv2D(op engine.Conv2D, extra int, in []engine.Spec, out engine.Spec) error {
	g := geometryOf(op, in[0], in[1], out)
	g.n = 1
	bias, res := operands(op.Epilogue, extra, len(in))
	switch {
	case g.depthwise():
		base := g.depthwiseArgs()
		base.act, base.more = splitAct(op.Epilogue.Act)
		l := c.pushLink(chainDepthwise, g.h, g.w*g.c, g.oh, g.ow, g.ow*g.o, g.needs(), func(q *queue, in []engine.Tensor, _ unsafe.Pointer) unsafe.Pointer {
			a := base
			a.w, a.bias, a.residual = at(in[extra]), input(in, bias), input(in, res)
			return keep(&q.memory, []depthwiseArgs{a})
		})
		l.work = 4 * float64(g.kh*g.kw*g.ow*g.o)
		return nil
	case g.rgb() && res < 0:
		base, _ := g.rgbArgs()
		base.act, base.more = splitAct(op.Epilogue.Act)
		c.addPadding(g)
		g = g.padded()
		l := c.pushLink(chainRGB, g.h, g.w*g.c, g.oh, g.ow, g.ow*g.o, g.needs(), func(q *queue, in []engine.Tensor, _ unsafe.Pointer) unsafe.Pointer {
			a := base
			a.w, a.bias = at(in[extra]), input(in, bias)
			return keep(&q.memory, []rgbArgs{a})
		})
		l.work, l.poolable = 2*float64(27*g.ow*g.o), base.more.f == 0
		return nil
	}
	conv, err := newConvolution(op, in, out)
	if err != nil {
		return err
	}
	if conv.wino != nil { // another sum, for whole pictures
		return fmt.Errorf("a convolution by Winograd's algorithm in a chain: %w", engine.ErrUnsupported)
	}
	ps := g.forward(op.Epilogue.Act).parts()
	if len(ps) != 1 {
		return fmt.Errorf("a kernel of more than %d places in a chain: %w", gemmTaps, engine.ErrUnsupported)
	}
	c.addProduct(g, ps[0], extra, bias, res)
	return nil
}

// addProduct appends a convolution that is a matrix product.
func (c *chain) addProduct(g geometry, p *product, extra, bias, res int) {
	if g.rowwise() {
		c.addPadding(g)
		g = g.padded()
	}
	p.whole = true
	p.gemm.splits, p.gemm.share = 1, int64(p.shared(1).share)
	start := c.packed
	l := c.pushLink(chainProduct, g.h, g.w*g.c, g.oh, g.ow, g.ow*g.o, g.needs(), func(q *queue, in []engine.Tensor, packed unsafe.Pointer) unsafe.Pointer {
		a := p.gemm
		a.b, a.bias, a.res, a.taps = floats(packed, start), input(in, bias), input(in, res), keep(&q.memory, p.taps)
		return keep(&q.memory, []igemmArgs{a})
	})
	l.product, l.w, l.at = p, extra, start
	l.work = float64(int(p.gemm.ntaps*p.gemm.kc) * g.ow * g.o)
	c.weights = append(c.weights, extra)
	c.packed += roundUp(p.packedFloats())
}

// addPadding appends the copy of rows into their padding.
func (c *chain) addPadding(g geometry) {
	base := padArgs{n: 1, h: int64(g.h), w: int64(g.w), c: int64(g.c), top: int64(g.pad[0]), left: int64(g.pad[1]), bottom: int64(g.pad[2]), right: int64(g.pad[3])}
	p := g.padded()
	needs := make([]engine.Span, p.h)
	for i := range needs {
		needs[i] = engine.Span{First: i - g.pad[0], End: i - g.pad[0] + 1}
	}
	c.pushLink(chainPad, g.h, g.w*g.c, p.h, p.w, p.w*p.c, needs, func(q *queue, _ []engine.Tensor, _ unsafe.Pointer) unsafe.Pointer {
		return keep(&q.memory, []padArgs{base})
	})
}

// addPool appends a pool.
func (c *chain) addPool(kind int64, p pooling, x, y engine.Spec) {
	h, w, ch := x.Shape[1], x.Shape[2], x.Shape[3]
	oh, ow := y.Shape[1], y.Shape[2]
	base := poolArgs{n: 1, h: int64(h), w: int64(w), c: int64(ch), oh: int64(oh), ow: int64(ow), dilh: int64(p.dil[0]), dilw: int64(p.dil[1])}
	needs := make([]engine.Span, oh)
	for i := range needs {
		needs[i] = engine.Span{First: int(p.rows[3*i]), End: int(p.rows[3*i+1])}
	}
	if last := len(c.links) - 1; kind == chainMaxPool && last >= 0 && c.links[last].poolable && p.halves(h, w) {
		c.links[last].pool(ow, ow*ch, needs)
		return
	}
	c.pushLink(kind, h, w*ch, oh, ow, ow*ch, needs, func(q *queue, _ []engine.Tensor, _ unsafe.Pointer) unsafe.Pointer {
		a := base
		a.rowSpans, a.colSpans = keep(&q.memory, p.rows), keep(&q.memory, p.cols)
		return keep(&q.memory, []poolArgs{a})
	})
}

// pool makes a max pool of 2x2 a part of the link, where needs are the rows of each of its own:
// what it reads is neither written nor read again.
func (l *link) pool(ow, out int, needs []engine.Span) {
	through := make([]engine.Span, len(needs))
	for i, s := range needs {
		through[i] = engine.Span{First: l.needs[s.First].First, End: l.needs[s.End-1].End}
	}
	l.kind, l.poolable = chainRGBPool, false
	l.needs, l.flat, l.width = through, flatNeeds(through), ow
	l.work *= 2 * 0.6 // of two rows, with a quarter of the results to be stored
	l.out, l.rows = int64(out), int64(len(needs))
}
