package cpu

import (
	"fmt"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersPrepared(lowerers, func(op engine.QConv2D, in, out []engine.Spec) (*kernel, error) {
		if op.Sum.Given() && !fusesSum(op, in, out[0]) {
			return nil, fmt.Errorf("a sum behind this convolution of codes: %w", engine.ErrUnsupported)
		}
		return newQConv(geometryOf(op.Conv2D, in[0], in[1], out[0]), op).kernel(), nil
	})
	lowersPrepared(lowerers, func(op engine.QLinear, in, _ []engine.Spec) (*kernel, error) {
		g := geometry{n: in[0].Shape[0], h: 1, w: 1, c: in[0].Shape[1], oh: 1, ow: 1, o: in[1].Shape[1], kh: 1, kw: 1,
			stride: engine.Both(1), dil: engine.Both(1), groups: 1, cg: in[0].Shape[1], og: in[1].Shape[1]}
		return newQConv(g, engine.QConv2D{X: op.X, Y: op.Y, Float: op.Float}).kernel(), nil
	})
}

// fusesSum reports whether the kernel adds another tensor to its result: that of depthwise
// convolutions does not, nor those in plain Go.
func fusesSum(op engine.QConv2D, in []engine.Spec, out engine.Spec) bool {
	return compiled && !geometryOf(op.Conv2D, in[0], in[1], out).qdepthwise()
}

// qdepthwise reports whether the kernel of depthwise convolutions of codes serves.
func (g geometry) qdepthwise() bool {
	return g.depthwise() && g.kh*g.kw <= qwindow && g.w*g.c <= qrowsBytes
}

// A qconvolution is a convolution of codes.
type qconvolution struct {
	geometry
	args      qconvArgs
	sum       *codesArgs // of what is added to the result, nil if there is nothing
	once      memo[qsharing]
	run, pack kernelID
	tasks     int // of a depthwise one; of others [qconvolution.shared] says how many
	packs     int // tasks of pack
	bytes     int // of the packed weights, at most
}

const (
	qtileBytes = 1 << 10 // of weights behind the last that a tile may read
	qwindow    = 512     // taps of a depthwise kernel, at most
	qrowsBytes = 3 << 20 // of the rows that a task copies, of the scratch memory of a thread
)

// Where a task reads the elements of its pixels: see args.h.
const (
	qgathered = iota
	qdirect
	qrows
)

func newQConv(g geometry, op engine.QConv2D) *qconvolution {
	q := &qconvolution{geometry: g, args: qconvArgs{n: int64(g.n), h: int64(g.h), wd: int64(g.w), c: int64(g.c), oh: int64(g.oh), ow: int64(g.ow), o: int64(g.o),
		kh: int64(g.kh), kw: int64(g.kw), sh: int64(g.stride[0]), sw: int64(g.stride[1]), top: int64(g.pad[0]), left: int64(g.pad[1]),
		dilh: int64(g.dil[0]), dilw: int64(g.dil[1]), groups: int64(g.groups), cg: int64(g.cg), og: int64(g.og), k: int64(g.kh * g.kw * g.cg),
		xzero: int64(op.X.Zero), yzero: int64(op.Y.Zero), lo: int64(op.Y.Lo), hi: int64(op.Y.Hi)}}
	a := &q.args
	if op.Float {
		a.floats = 1
	}
	if op.Sum.Given() {
		q.sum = new(qaddArgs(engine.QAdd{A: op.Y, B: op.Sum.R, Y: op.Sum.Y}))
	}
	if g.qdepthwise() {
		q.depthwise(g)
		return q
	}
	q.run, q.pack, q.packs = kQConv, kQPack, g.groups
	if g.kh*g.kw == 1 && g.pad == (engine.Pads{}) && g.cg%4 == 0 {
		a.way = qdirect
	}
	q.bytes = g.groups*ceilDiv(g.og, 16)*16*(4+2*q.terms()) + qtileBytes
	return q
}

// terms returns how many products an output sums, those of zeros at the ends of lines among them.
func (c *qconvolution) terms() int { return c.kh * ceilDiv(c.kw*c.cg, 4) * 4 }

// depthwise cuts a depthwise convolution into tasks of some rows, of an even number
// where two are computed together.
func (c *qconvolution) depthwise(g geometry) {
	rows, _ := spreadRows(g.n*g.oh, g.ow*g.c)
	if g.stride[0] == 1 {
		rows += rows % 2
	}
	c.args.block = rows
	c.run, c.pack, c.packs = kQDepthwise, kQDepthwisePack, ceilDiv(g.c, 4)
	c.tasks = ceilDiv(g.n*g.oh, int(rows))
	c.bytes = 4 * ceilDiv(g.c, 16) * 16 * (1 + 2*g.kw*ceilDiv(g.kh, 4))
}

// pushPack enqueues the packing of weights and biases.
func (c *qconvolution) pushPack(q *queue, in []engine.Tensor, packed unsafe.Pointer) {
	if compiled {
		a := c.args
		a.w, a.bias, a.packed = at(in[1]), at(in[2]), packed
		push(q, c.pack, c.packs, a)
	}
}

func (c *qconvolution) push(q *queue, in, out []engine.Tensor, packed unsafe.Pointer) {
	a := c.args
	a.x, a.w, a.bias, a.m, a.y, a.packed = at(in[0]), at(in[1]), at(in[2]), at(in[3]), at(out[0]), packed
	if c.sum != nil {
		sum := *c.sum
		sum.b = at(in[4])
		a.sum = keep(&q.memory, []codesArgs{sum})
	}
	tasks := c.tasks
	if tasks == 0 {
		share := c.shared(q.threads)
		a.block, a.splits, a.threads = int64(share.block), int64(share.splits), int64(q.threads)
		if c.copies(share.block) {
			a.way = qrows
		}
		tasks = share.tasks(c)
	}
	push(q, c.run, tasks, a)
}

func (c *qconvolution) kernel() *kernel {
	k := &kernel{lower: func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		c.pushPack(q, in, ws)
		c.push(q, in, out, ws)
	}}
	if compiled {
		k.ws = c.bytes
		k.once = &preparation{
			inputs: []int{1, 2}, bytes: c.bytes, prepare: c.pushPack,
			lower: func(q *queue, in, out []engine.Tensor, _, kept unsafe.Pointer) { c.push(q, in, out, kept) },
		}
	}
	return k
}
