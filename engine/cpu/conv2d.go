package cpu

import (
	"reflect"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	for _, table := range []map[reflect.Type]lowerer{lowerers, bfloat16Lowerers} {
		lowersPrepared(table, func(op engine.Conv2D, in, out []engine.Spec) (*kernel, error) {
			ws, low, err := lowerConv2D(op, in, out[0])
			if err != nil {
				return nil, err
			}
			return &kernel{ws: ws, lower: low, once: prepareConv2D(op, in, out[0])}, nil
		})
	}
	lowersStored(func(op engine.Conv2DBackwardData, in, _ []engine.Spec) (int, lowering, error) {
		return lowerConv2DBackwardData(op, in)
	})
	lowersStored(func(op engine.Conv2DBackwardWeight, in, _ []engine.Spec) (int, lowering, error) {
		return lowerConv2DBackwardWeight(op, in)
	})
}

// panelFloats bounds the columns of a packed group, whatever the vectors' width.
func panelFloats(n int) int { return ceilDiv(n, 64) * 64 }

// A product is one implicit matrix product, or a part of one: the taps, and how
// weights are packed.
type product struct {
	taps  []int64 // dh, dw of each
	wTaps []int64 // its place in w
	pack  packArgs
	gemm  igemmArgs
	dtype engine.DType // of x and y
	// first says that this part comes first, and adds bias and residual; each of
	// the others adds what the parts before it have left in y.
	first bool
	// whole says that a link of a chain runs it, by whole rows of y.
	whole bool
	once  memo[sharing]
}

// packedFloats is the size of the packed weights, of which pairs in bfloat16 take half.
func (p *product) packedFloats() int { return int(p.pack.gFloats * p.pack.groups) }

// parts cuts a product into parts of at most gemmTaps taps each, the last of
// which takes the activation: one, where the kernel is not large.
func (p *product) parts() products {
	n := max(ceilDiv(len(p.wTaps), gemmTaps), 1)
	var ps products
	for i := range n {
		part, lo, hi := *p, i*len(p.wTaps)/n, (i+1)*len(p.wTaps)/n
		part.taps, part.wTaps, part.first = p.taps[2*lo:2*hi], p.wTaps[lo:hi], i == 0
		if i < n-1 {
			part.gemm.act, part.gemm.more = splitAct(engine.Identity)
		}
		part.finish()
		ps = append(ps, &part)
	}
	return ps
}

// products are run one behind the other.
type products []*product

// packedFloats is the size of all their packed weights.
func (ps products) packedFloats() int {
	n := 0
	for _, p := range ps {
		n += roundUp(p.packedFloats())
	}
	return n
}

// pushPack enqueues the packing of all their weights.
func (ps products) pushPack(q *queue, w, packed unsafe.Pointer) {
	for _, p := range ps {
		p.pushPack(q, w, packed)
		packed = floats(packed, roundUp(p.packedFloats()))
	}
}

// push enqueues them with packed weights.
func (ps products) push(q *queue, x, packed, bias, res, y unsafe.Pointer) {
	for _, p := range ps {
		if p.first {
			p.push(q, x, packed, bias, res, y)
		} else {
			p.push(q, x, packed, nil, y, y)
		}
		packed = floats(packed, roundUp(p.packedFloats()))
	}
}

// finish derives what depends on the sizes set so far.
func (p *product) finish() {
	nt := int64(len(p.wTaps))
	p.pack.ntaps, p.gemm.ntaps = nt, nt
	p.pack.kc, p.pack.gn, p.pack.groups = p.gemm.kc, p.gemm.gn, p.gemm.groups
	p.pack.gFloats = nt * p.gemm.kc * int64(panelFloats(int(p.gemm.gn)))
	p.gemm.gFloats = p.pack.gFloats
}

// pushPack enqueues the packing of the weights.
func (p *product) pushPack(q *queue, w, packed unsafe.Pointer) {
	if len(p.wTaps) > 0 {
		pk := p.pack
		pk.share = int64(p.shared(q.threads).share)
		pk.w, pk.dst, pk.taps = w, packed, keep(&q.memory, p.wTaps)
		push(q, kPack.of(p.dtype), int(pk.groups*pk.ntaps), pk)
	}
}

// push enqueues the product with packed weights.
func (p *product) push(q *queue, x, packed, bias, res, y unsafe.Pointer) {
	gm, c := p.gemm, p.shared(q.threads)
	gm.block, gm.splits, gm.share = int64(c.block), int64(c.splits), int64(c.share)
	gm.x, gm.b, gm.bias, gm.res, gm.y, gm.taps = x, packed, bias, res, y, keep(&q.memory, p.taps)
	push(q, kIGemm.of(p.dtype), ceilDiv(int(gm.n*gm.gh*gm.gw), int(gm.block))*int(gm.groups*gm.splits), gm)
}

// forward returns the product of the forward pass, whole, for an x that is
// padded already if the convolution is rowwise.
func (g geometry) forward(act engine.Act) *product {
	p := &product{dtype: g.dtype}
	if g.rowwise() {
		g = g.padded()
		for u := range g.kh {
			p.taps = append(p.taps, int64(u*g.dil[0]), 0)
			p.wTaps = append(p.wTaps, int64(u))
		}
		p.gemm.kc = int64(g.kw * g.c)
	} else {
		for u := range g.kh {
			for v := range g.kw {
				p.taps = append(p.taps, int64(u*g.dil[0]-g.pad[0]), int64(v*g.dil[1]-g.pad[1]))
				p.wTaps = append(p.wTaps, int64(u*g.kw+v))
			}
		}
		p.gemm.kc = int64(g.cg)
	}
	m := &p.gemm
	m.n, m.gh, m.gw = int64(g.n), int64(g.oh), int64(g.ow)
	m.h, m.w, m.c, m.sh, m.sw = int64(g.h), int64(g.w), int64(g.c), int64(g.stride[0]), int64(g.stride[1])
	m.yh, m.yw, m.yc, m.yis, m.yjs = int64(g.oh), int64(g.ow), int64(g.o), 1, 1
	m.groups, m.gk, m.gn = int64(g.groups), int64(g.cg), int64(g.og)
	m.act, m.more = splitAct(act)
	p.pack.tapStride, p.pack.kStride, p.pack.nStride, p.pack.gStride = m.kc*int64(g.o), int64(g.o), 1, int64(g.og)
	return p
}

// A convolution is the forward pass as products.
type convolution struct {
	geometry
	op   engine.Conv2D
	ps   products
	wino *winograd // in their place, where it is better
}

// newConvolution returns nil for a depthwise convolution, which is no product.
func newConvolution(op engine.Conv2D, in []engine.Spec, y engine.Spec) (*convolution, error) {
	g := geometryOf(op, in[0], in[1], y)
	if g.depthwise() {
		return nil, nil
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	c := &convolution{geometry: g, op: op, wino: newWinograd(g, op.Epilogue.Act)}
	if c.wino == nil {
		c.ps = g.forward(op.Epilogue.Act).parts()
	}
	return c, nil
}

// keptFloats is the size of the weights as the kernels take them.
func (c *convolution) keptFloats() int {
	if c.wino != nil {
		return roundUp(c.wino.keptFloats())
	}
	return c.ps.packedFloats()
}

// roomFloats is what push needs beside them.
func (c *convolution) roomFloats() int {
	switch {
	case c.wino != nil:
		return c.wino.sharedFloats()
	case c.rowwise():
		return c.paddedFloats()
	}
	return 0
}

// pushKept enqueues the making of these weights.
func (c *convolution) pushKept(q *queue, w, kept unsafe.Pointer) {
	if c.wino != nil {
		c.wino.pushKernels(q, w, kept)
		return
	}
	c.ps.pushPack(q, w, kept)
}

// push enqueues the rest, with room for roomFloats.
func (c *convolution) push(q *queue, in, out []engine.Tensor, room, kept unsafe.Pointer) {
	x := at(in[0])
	if c.wino == nil && c.rowwise() {
		c.pushPad(q, x, room)
		x = room
	}
	rest := in[2:]
	var bias, res unsafe.Pointer
	if c.op.Epilogue.Residual {
		res, rest = at(rest[len(rest)-1]), rest[:len(rest)-1]
	}
	if len(rest) > 0 {
		bias = at(rest[0])
	}
	if c.wino != nil {
		c.wino.push(q, x, kept, bias, res, at(out[0]), room)
		return
	}
	c.ps.push(q, x, kept, bias, res, at(out[0]))
}

func lowerConv2D(op engine.Conv2D, in []engine.Spec, y engine.Spec) (int, lowering, error) {
	c, err := newConvolution(op, in, y)
	if err != nil {
		return 0, nil, err
	}
	g := geometryOf(op, in[0], in[1], y)
	switch {
	case c == nil:
		return 0, lowerDepthwise(g, op.Epilogue), g.widenedDepthwise(op.Epilogue.Act)
	case g.rgb() && g.rgbTakes(op.Epilogue):
		ws, low := lowerRGB(g, op.Epilogue.Act)
		return ws, low, nil
	}
	kept := c.keptFloats()
	return 4 * (kept + c.roomFloats()), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		c.pushKept(q, at(in[1]), ws)
		c.push(q, in, out, floats(ws, kept), ws)
	}, nil
}

// prepareConv2D packs or transforms the weights once; nil for a convolution that
// takes them as they are.
func prepareConv2D(op engine.Conv2D, in []engine.Spec, y engine.Spec) *preparation {
	c, err := newConvolution(op, in, y)
	if err != nil || c == nil || c.rgb() && c.rgbTakes(op.Epilogue) {
		return nil
	}
	floatsKept := c.keptFloats()
	return &preparation{
		inputs:  []int{1},
		bytes:   4 * floatsKept,
		prepare: func(q *queue, in []engine.Tensor, kept unsafe.Pointer) { c.pushKept(q, at(in[1]), kept) },
		lower: func(q *queue, in, out []engine.Tensor, ws, kept unsafe.Pointer) {
			c.push(q, in, out, floats(ws, floatsKept), kept)
		},
	}
}

// backwardData returns the products of the gradient of x, one or more for each
// phase of the stride: the pixels (i, j) of x with i ≡ a (mod sh), j ≡ b (mod sw)
// are reached by the taps with u·dh ≡ a+top, v·dw ≡ b+left alone.
func (g geometry) backwardData() products {
	var ps products
	sh, sw := g.stride[0], g.stride[1]
	for a := range min(sh, g.h) {
		for b := range min(sw, g.w) {
			p := &product{dtype: g.dtype}
			for u := range g.kh {
				for v := range g.kw {
					r, s := a+g.pad[0]-u*g.dil[0], b+g.pad[1]-v*g.dil[1]
					if r%sh == 0 && s%sw == 0 {
						p.taps = append(p.taps, int64(r/sh), int64(s/sw))
						p.wTaps = append(p.wTaps, int64(u*g.kw+v))
					}
				}
			}
			m := &p.gemm
			m.kc = int64(g.og)
			m.n, m.gh, m.gw = int64(g.n), int64(ceilDiv(g.h-a, sh)), int64(ceilDiv(g.w-b, sw))
			m.h, m.w, m.c, m.sh, m.sw = int64(g.oh), int64(g.ow), int64(g.o), 1, 1
			m.yh, m.yw, m.yc = int64(g.h), int64(g.w), int64(g.c)
			m.yi0, m.yj0, m.yis, m.yjs = int64(a), int64(b), int64(sh), int64(sw)
			m.groups, m.gk, m.gn = int64(g.groups), int64(g.og), int64(g.cg)
			p.pack.tapStride, p.pack.kStride, p.pack.nStride, p.pack.gStride = int64(g.cg*g.o), 1, int64(g.o), int64(g.og)
			ps = append(ps, p.parts()...)
		}
	}
	return ps
}

func lowerConv2DBackwardData(op engine.Conv2DBackwardData, in []engine.Spec) (int, lowering, error) {
	op.X.DType = in[0].DType
	g := geometryOf(op.Conv2D, op.X, in[1], in[0])
	if g.depthwise() {
		return 0, lowerDepthwiseData(g), g.widenedDepthwise(engine.Identity)
	}
	if err := g.check(); err != nil {
		return 0, nil, err
	}
	if w := newWinogradData(g); w != nil {
		kept := roundUp(w.keptFloats())
		return 4 * (kept + w.sharedFloats()), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
			w.pushKernels(q, at(in[1]), ws)
			w.push(q, at(in[0]), ws, nil, nil, at(out[0]), floats(ws, kept))
		}, nil
	}
	ps := g.backwardData()
	return 4 * ps.packedFloats(), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		ps.pushPack(q, at(in[1]), ws)
		ps.push(q, at(in[0]), ws, nil, nil, at(out[0]))
	}, nil
}

// pushReduce enqueues y[i] = Σ_s x[s·stride+i], for i < n.
func pushReduce(q *queue, x, y unsafe.Pointer, n, splits, stride int) {
	push(q, kReduce, ceilDiv(n, spanFloats), reduceArgs{x: x, y: y, n: int64(n), splits: int64(splits), stride: int64(stride)})
}
