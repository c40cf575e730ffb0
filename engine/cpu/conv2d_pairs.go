package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// The gradient of weights in bfloat16 is made of pairs of pixels: see
// gemm_weight_bf16.h, where these bounds are explained.
const (
	pairsOfChunk = 96      // WGRAD_PAIRS
	pairsOfX     = 1 << 15 // WGRAD_XPAIRS
	tapClasses   = 8       // WGRAD_CLASSES
	pairsVL      = 16      // the longest vector: blocks of channels are multiples of it

	// pairsFloats bounds the weights whose sums one task keeps going. They pass
	// through the second cache once a chunk.
	pairsFloats = 32 << 10
	// pairsBlock is about how many channels of x a task takes.
	pairsBlock = 72
)

// lowerWeightPairs lowers the gradient of weights for x and dy in bfloat16.
func (g geometry) lowerWeightPairs(op engine.Conv2DBackwardWeight, p *product) (int, lowering, error) {
	a := g.pairsArgs(p, op.W.Len())
	if !a.chunks(p.taps) {
		return 0, nil, errWidened
	}
	pixels := int(a.n * a.gh * a.gw)
	each := ceilDiv(pixels, wgradSplits(pixels, int(a.units*a.groups), op.W.Len()))
	if a.n*a.gh == 1 {
		each = ceilDiv(each, 2) * 2
	} else {
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

// pairsArgs returns the extents of the sums, and how the weights are cut into units.
func (g geometry) pairsArgs(p *product, weights int) wgradPairsArgs {
	m := p.gemm
	a := wgradPairsArgs{ntaps: int64(len(p.wTaps)), kc: m.kc, n: m.n, gh: m.gh, gw: m.gw, h: m.h, w: m.w, c: m.c, sh: m.sh, sw: m.sw,
		o: int64(g.o), groups: m.groups, gk: m.gk, gn: m.gn, starts: m.w, dwFloats: int64(roundUp(weights))}
	if g.rowwise() {
		a.starts -= int64(g.kw - 1) // a pixel reads so many columns more
	}
	if a.ntaps == 1 && p.taps[0] == 0 && p.taps[1] == 0 && m.sh == 1 && m.sw == 1 && m.h == m.gh && m.w == m.gw {
		a.gw *= a.n * a.gh // pointwise: all pixels are one row
		a.n, a.gh, a.h, a.w, a.starts = 1, 1, 1, a.gw, a.gw
	}
	a.kblock = a.kc
	if parts := ceilDiv(int(a.kc), pairsBlock); parts > 1 {
		a.kblock = int64(ceilDiv(ceilDiv(int(a.kc), parts), pairsVL) * pairsVL)
	}
	a.cut = min(a.gw, 2*pairsOfChunk)
	a.utaps = min(a.ntaps, max(1, pairsFloats/(a.kblock*a.gn)))
	if a.utaps < a.ntaps { // whole rows of the kernel, which share pairs of x
		if kw := int64(g.kw); a.utaps >= kw && !g.rowwise() {
			a.utaps -= a.utaps % kw
		}
	}
	return a
}

// chunks cuts the units down until a chunk of x fits the room that there is, and
// reports whether it does.
func (a *wgradPairsArgs) chunks(taps []int64) bool {
	for !a.fits(taps) {
		switch {
		case a.utaps > 1:
			a.utaps = (a.utaps + 1) / 2
		case a.cut > 32:
			a.cut = (a.cut/2 + 1) &^ 1
		case a.kblock > pairsVL:
			a.kblock = pairsVL
		default:
			return false
		}
	}
	a.units = int64(ceilDiv(int(a.ntaps), int(a.utaps)) * ceilDiv(int(a.kc), int(a.kblock)))
	return true
}

// fits sets how many rows of dy a chunk may have, and reports whether it may have one.
func (a *wgradPairsArgs) fits(taps []int64) bool {
	classes, places, span := a.widest(taps)
	a.places = (a.cut+1)/2 + places
	row := classes * a.places * int64(ceilDiv(int(a.kblock), pairsVL)*pairsVL)
	for a.rows = pairsOfChunk; a.rows > 0; a.rows-- {
		pictures := min(a.rows, (a.rows+a.gh-2)/a.gh+1) // that it may touch
		if classes <= tapClasses && ((a.rows-pictures)*a.sh+pictures*span)*row <= pairsOfX {
			return true
		}
	}
	return false
}

// widest returns the most classes of taps that a unit has, the most places by which
// taps of a class differ, and the most rows of x that meet a row of dy.
func (a *wgradPairsArgs) widest(taps []int64) (classes, places, span int64) {
	for t := int64(0); t < a.ntaps; t += a.utaps {
		least, most := make(map[int64]int64), make(map[int64]int64)
		first, last := taps[2*t], taps[2*t]
		for u := t; u < min(t+a.utaps, a.ntaps); u++ {
			dh, dw := taps[2*u], taps[2*u+1]
			place := dw / (2 * a.sw)
			if dw%(2*a.sw) < 0 {
				place--
			}
			class := dw - place*2*a.sw
			if _, ok := least[class]; !ok {
				least[class], most[class] = place, place
			}
			least[class], most[class] = min(least[class], place), max(most[class], place)
			first, last = min(first, dh), max(last, dh)
		}
		classes, span = max(classes, int64(len(least))), max(span, last-first+1)
		for class, place := range most {
			places = max(places, place-least[class])
		}
	}
	return classes, places, span
}
