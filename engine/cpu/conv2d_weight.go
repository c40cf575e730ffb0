package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// wgradFloats bounds the weights whose sums one task keeps going, so that they
// stay in the first cache beside the pixels.
const wgradFloats = 5 << 10

// wgradSplits chooses into how many parts the pixels are cut, each with a
// partial result of its own: enough for eight tasks or more, but parts of at
// least 512 pixels, and no more than 8 MB of partial results.
func wgradSplits(pixels, others, weights int) int {
	s := min(ceilDiv(16, others), ceilDiv(pixels, 512), max(1, (2<<20)/max(weights, 1)))
	return max(s, 1)
}

func lowerConv2DBackwardWeight(op engine.Conv2DBackwardWeight, in []engine.Spec) (int, lowering, error) {
	g := geometryOf(op.Conv2D, in[0], op.W, in[1])
	if g.depthwise() {
		ws, low := lowerDepthwiseWeight(g, op.Bias)
		return ws, low, g.widenedDepthwise(engine.Identity)
	}
	if g.rgb() {
		ws, low := lowerRGBWeight(g, op.Bias)
		return ws, low, nil
	}
	if err := g.check(); err != nil {
		return 0, nil, err
	}
	if w := newWinogradGrad(g); w != nil {
		ws, low := w.lower(op.Bias)
		return ws, low, nil
	}
	p := g.forward(engine.Identity)
	a := g.weightArgs(p, op.W.Len())
	if g.dtype == engine.BFloat16 && !a.pair(g, p.taps) {
		return 0, nil, errWidened
	}
	a.units = int64(ceilDiv(int(a.ntaps), int(a.utaps)) * ceilDiv(int(a.kc), int(a.kblock)))
	pixels := int(a.n * a.gh * a.gw)
	each := ceilDiv(pixels, wgradSplits(pixels, int(a.units*a.groups), op.W.Len()))
	switch {
	case g.dtype == engine.Float32:
	case a.n*a.gh == 1:
		each = ceilDiv(each, 2) * 2
	default:
		each = ceilDiv(each, int(a.gw)) * int(a.gw)
	}
	a.each = int64(each)
	splits := ceilDiv(pixels, each)
	ws, low := g.lowerWeightSums(op, splits, func(q *queue, x, dy, dw, db unsafe.Pointer) {
		a := a
		a.x, a.dy, a.dw, a.db, a.taps = x, dy, dw, db, keep(&q.memory, p.taps)
		push(q, kWGrad.of(g.dtype), int(a.units*a.groups)*splits, a)
	})
	return ws, low, nil
}

// weightArgs returns the extents of the sums, and the units for float32.
func (g geometry) weightArgs(p *product, weights int) wgradArgs {
	m := p.gemm
	a := wgradArgs{ntaps: int64(len(p.wTaps)), kc: m.kc, n: m.n, gh: m.gh, gw: m.gw, h: m.h, w: m.w, c: m.c, sh: m.sh, sw: m.sw,
		o: int64(g.o), groups: m.groups, gk: m.gk, gn: m.gn, kblock: 72, dwFloats: int64(roundUp(weights))}
	a.utaps = min(a.ntaps, max(1, wgradFloats/(a.kc*a.gn)))
	return a
}

// lowerWeightSums lowers a gradient of weights whose pixels are cut into splits: run
// enqueues the sums of each, split s to dw + s·roundUp(len(dw)) and db + s·o, and
// what they come to is added up behind it.
func (g geometry) lowerWeightSums(op engine.Conv2DBackwardWeight, splits int, run func(q *queue, x, dy, dw, db unsafe.Pointer)) (int, lowering) {
	padFloats, partial, each := 0, 0, roundUp(op.W.Len())
	if g.rowwise() {
		padFloats = roundUp(g.paddedFloats())
	}
	if splits > 1 {
		partial = splits * (each + g.o)
	}
	return 4 * (padFloats + partial), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		x := at(in[0])
		if g.rowwise() {
			g.pushPad(q, x, ws)
			x = ws
		}
		dw, db := at(out[0]), unsafe.Pointer(nil)
		if op.Bias {
			db = at(out[1])
		}
		if splits == 1 {
			run(q, x, at(in[1]), dw, db)
			return
		}
		dws, dbs := floats(ws, padFloats), unsafe.Pointer(nil)
		if op.Bias {
			dbs = floats(dws, splits*each)
		}
		run(q, x, at(in[1]), dws, dbs)
		pushReduce(q, dws, dw, op.W.Len(), splits, each)
		if op.Bias {
			pushReduce(q, dbs, db, g.o, splits, g.o)
		}
	}
}
