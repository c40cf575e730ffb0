package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersPrepared(lowerers, func(op engine.QConv2D, in, out []engine.Spec) (*kernel, error) {
		g := geometryOf(op.Conv2D, in[0], in[1], out[0])
		return newQConv(g, op).kernel(), nil
	})
	lowersPrepared(lowerers, func(op engine.QLinear, in, _ []engine.Spec) (*kernel, error) {
		g := geometry{n: in[0].Shape[0], h: 1, w: 1, c: in[0].Shape[1], oh: 1, ow: 1, o: in[1].Shape[1], kh: 1, kw: 1,
			stride: engine.Both(1), dil: engine.Both(1), groups: 1, cg: in[0].Shape[1], og: in[1].Shape[1]}
		return newQConv(g, engine.QConv2D{X: op.X, Y: op.Y, Float: op.Float}).kernel(), nil
	})
}

// A qconvolution is a convolution of codes.
type qconvolution struct {
	args  qconvArgs
	wide  bool // not depthwise: its weights are packed
	tasks int
	bytes int // of the packed weights, at most
}

const (
	qblock       = 96      // pixels of a task, at most
	qblockBytes  = 1 << 18 // of the rows that a task gathers, unless they are few
	qblockPixels = 6       // that are computed together
	qwindow      = 512     // taps of a depthwise convolution whose sums floats hold
)

func newQConv(g geometry, op engine.QConv2D) *qconvolution {
	q := &qconvolution{args: qconvArgs{n: int64(g.n), h: int64(g.h), wd: int64(g.w), c: int64(g.c), oh: int64(g.oh), ow: int64(g.ow), o: int64(g.o),
		kh: int64(g.kh), kw: int64(g.kw), sh: int64(g.stride[0]), sw: int64(g.stride[1]), top: int64(g.pad[0]), left: int64(g.pad[1]),
		dilh: int64(g.dil[0]), dilw: int64(g.dil[1]), groups: int64(g.groups), cg: int64(g.cg), og: int64(g.og), k: int64(g.kh * g.kw * g.cg),
		xzero: int64(op.X.Zero), yzero: int64(op.Y.Zero), lo: int64(op.Y.Lo), hi: int64(op.Y.Hi)}}
	a := &q.args
	if op.Float {
		a.floats = 1
	}
	if g.depthwise() && g.kh*g.kw <= qwindow {
		var tasks int64
		a.block, tasks = spreadRows(g.n*g.oh, g.ow*g.c)
		q.tasks = int(tasks)
		return q
	}
	q.wide = true
	if g.kh*g.kw == 1 && g.stride == engine.Both(1) && g.pad == (engine.Pads{}) && g.cg%4 == 0 {
		a.direct = 1
	}
	k := ceilDiv(int(a.k), 4) * 4
	pixels := g.n * g.oh * g.ow
	block := min(max(qblockBytes/(2*k), qblockPixels), qblock)
	if each := ceilDiv(pixels, 8); block > each { // enough tasks for some threads
		block = max(each, min(qblockPixels, pixels))
	}
	a.block, a.splits = int64(block), 1
	if blocks := ceilDiv(pixels, block) * g.groups; blocks < 8 {
		a.splits = int64(min(ceilDiv(8, blocks), ceilDiv(g.og, 64)))
	}
	q.tasks = ceilDiv(pixels, block) * g.groups * int(a.splits)
	q.bytes = g.groups * ceilDiv(g.og, 16) * 16 * (4 + 2*k)
	return q
}

// pushPack enqueues the packing of weights and biases.
func (c *qconvolution) pushPack(q *queue, in []engine.Tensor, packed unsafe.Pointer) {
	if compiled && c.wide {
		a := c.args
		a.w, a.bias, a.packed = at(in[1]), at(in[2]), packed
		push(q, kQPack, int(a.groups), a)
	}
}

func (c *qconvolution) push(q *queue, in, out []engine.Tensor, packed unsafe.Pointer) {
	a := c.args
	a.x, a.w, a.bias, a.m, a.y, a.packed = at(in[0]), at(in[1]), at(in[2]), at(in[3]), at(out[0]), packed
	if c.wide {
		push(q, kQConv, c.tasks, a)
	} else {
		push(q, kQDepthwise, c.tasks, a)
	}
}

func (c *qconvolution) kernel() *kernel {
	k := &kernel{lower: func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		c.pushPack(q, in, ws)
		c.push(q, in, out, ws)
	}}
	if compiled && c.wide {
		k.ws = c.bytes
		k.once = &preparation{
			inputs: []int{1, 2}, bytes: c.bytes, prepare: c.pushPack,
			lower: func(q *queue, in, out []engine.Tensor, _, kept unsafe.Pointer) { c.push(q, in, out, kept) },
		}
	}
	return k
}
