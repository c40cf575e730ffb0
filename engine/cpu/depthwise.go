package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func (g geometry) depthwiseArgs() depthwiseArgs {
	return depthwiseArgs{n: int64(g.n), h: int64(g.h), wd: int64(g.w), c: int64(g.c), oh: int64(g.oh), ow: int64(g.ow),
		kh: int64(g.kh), kw: int64(g.kw), sh: int64(g.stride[0]), sw: int64(g.stride[1]), top: int64(g.pad[0]), left: int64(g.pad[1]),
		dilh: int64(g.dil[0]), dilw: int64(g.dil[1])}
}

// lowerDepthwise lowers the convolution with its epilogue.
func lowerDepthwise(g geometry, e engine.Epilogue) lowering {
	base := g.depthwiseArgs()
	base.act, base.more = splitAct(e.Act)
	base.rows, base.tasks = spreadRows(g.n*g.oh, g.ow*g.c)
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.x, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
		rest := in[2:]
		if e.Residual {
			a.residual, rest = at(rest[len(rest)-1]), rest[:len(rest)-1]
		}
		if len(rest) > 0 {
			a.bias = at(rest[0])
		}
		push(q, kDepthwise.of(in[0].DType), int(a.tasks), a)
	}
}

// lowerDepthwiseData: with stride one, the gradient of x is the convolution of
// dy with the kernel turned round; otherwise it is gathered.
func lowerDepthwiseData(g geometry) lowering {
	flipped := g
	flipped.h, flipped.w, flipped.oh, flipped.ow = g.oh, g.ow, g.h, g.w
	flipped.pad = engine.Pads{g.dil[0]*(g.kh-1) - g.pad[0], g.dil[1]*(g.kw-1) - g.pad[1]} // bottom and right are not read
	if g.stride == engine.Both(1) && flipped.pad[0] >= 0 && flipped.pad[1] >= 0 {
		base := flipped.depthwiseArgs()
		base.flip = 1
		base.rows, base.tasks = spreadRows(g.n*g.h, g.w*g.c)
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			a := base
			a.x, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
			push(q, kDepthwise.of(in[0].DType), int(a.tasks), a)
		}
	}
	base := g.depthwiseArgs()
	base.rows, base.tasks = spreadRows(g.n*g.h, g.w*g.c)
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		a := base
		a.dy, a.w, a.y = at(in[0]), at(in[1]), at(out[0])
		push(q, kDepthwiseData.of(in[0].DType), int(a.tasks), a)
	}
}

func lowerDepthwiseWeight(g geometry, bias bool) (int, lowering) {
	base := g.depthwiseArgs()
	base.rows, base.tasks = taskRows(g.n*g.oh, g.ow*g.c)
	weights, tasks := g.kh*g.kw*g.c, int(base.tasks)
	return 4 * tasks * (weights + g.c), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		a.x, a.dy, a.dw = at(in[0]), at(in[1]), ws
		if bias {
			a.db = floats(ws, tasks*weights)
		}
		push(q, kDepthwiseWeight.of(in[0].DType), tasks, a)
		pushReduce(q, a.dw, at(out[0]), weights, tasks, weights)
		if bias {
			pushReduce(q, a.db, at(out[1]), g.c, tasks, g.c)
		}
	}
}
