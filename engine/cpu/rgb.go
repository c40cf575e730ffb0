package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// rgb reports whether the kernels of rgb.h serve: a first layer.
func (g geometry) rgb() bool {
	return compiled && g.groups == 1 && g.c == 3 && g.kh == 3 && g.kw == 3 && g.dil == engine.Both(1) &&
		(g.stride == engine.Both(1) || g.stride == engine.Both(2))
}

// rgbTakes reports whether they take an epilogue: not an activation of a result that
// is rounded.
func (g geometry) rgbTakes(e engine.Epilogue) bool {
	_, more := splitAct(e.Act)
	return !e.Residual && (g.dtype == engine.Float32 || more.f == 0)
}

// rgbFloats is the size of x with its padding around it, in float32.
func (g geometry) rgbFloats() int {
	g.dtype = engine.Float32
	return g.paddedFloats()
}

// rgbArgs are what both passes share, for an x that is padded.
func (g geometry) rgbArgs() (a rgbArgs, tasks int) {
	p := g.padded()
	a = rgbArgs{n: int64(p.n), h: int64(p.h), wd: int64(p.w), oh: int64(p.oh), ow: int64(p.ow), o: int64(p.o), stride: int64(p.stride[0])}
	rows, n := taskRows(g.n*g.oh, g.ow*g.o)
	a.rows = rows
	return a, int(n)
}

func lowerRGB(g geometry, act engine.Act) (int, lowering) {
	base, _ := g.rgbArgs()
	base.act, base.more = splitAct(act)
	rows, tasks := spreadRows(g.n*g.oh, g.ow*g.o)
	base.rows = rows
	return 4 * g.rgbFloats(), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		g.pushPadOf(q, kRGBPad.of(in[0].DType), at(in[0]), ws)
		a.x, a.w, a.y = ws, at(in[1]), at(out[0])
		if len(in) > 2 {
			a.bias = at(in[2])
		}
		push(q, kRGB.of(in[0].DType), int(tasks), a)
	}
}

func lowerRGBWeight(g geometry, bias bool) (int, lowering) {
	base, tasks := g.rgbArgs()
	padded, weights := roundUp(g.rgbFloats()), 27*g.o
	return 4 * (padded + tasks*(weights+g.o)), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := base
		g.pushPadOf(q, kRGBPad.of(in[0].DType), at(in[0]), ws)
		a.x, a.dy, a.dw = ws, at(in[1]), floats(ws, padded)
		if bias {
			a.db = floats(a.dw, tasks*weights)
		}
		push(q, kRGBWeight.of(in[0].DType), tasks, a)
		pushReduce(q, a.dw, at(out[0]), weights, tasks, weights)
		if bias {
			pushReduce(q, a.db, at(out[1]), g.o, tasks, g.o)
		}
	}
}
