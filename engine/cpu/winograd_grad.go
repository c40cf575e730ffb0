package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A winogradGrad is the gradient of a 3x3 convolution's weights by minimal
// filtering: winograd_grad.h. Its results are within the bound said of winograd,
// with K the number of pixels.
type winogradGrad struct {
	bundle
	args     winoGradArgs
	x        winoArgs // the transform of x, where it stands alone
	together bool     // x and dy are transformed before the products
}

// winogradSplits is into how many parts the tiles are cut where each part has sums of
// its own, and winogradSums the most floats of these: they stay in the second cache.
const (
	winogradSplits = 8
	winogradSums   = 160 << 10
)

// newWinogradGrad returns nil where the direct sum is better.
func newWinogradGrad(g geometry) *winogradGrad {
	if !g.minimal() {
		return nil
	}
	b := g.bundles()
	t := winogradSide(g, b)
	if t == 0 {
		return nil
	}
	th, tw, places := ceilDiv(g.oh, t-2), ceilDiv(g.ow, t-2), t*t
	tiles, columns := g.n*th*tw, panelFloats(b.o)
	w := &winogradGrad{bundle: b, args: winoGradArgs{t: int64(t), n: int64(g.n), h: int64(g.h), w: int64(g.w), c: int64(b.c),
		oh: int64(g.oh), ow: int64(g.ow), o: int64(b.o), xc: int64(g.c), yc: int64(g.o), kb: int64(g.cg), nb: int64(g.og),
		top: int64(g.pad[0]), left: int64(g.pad[1]), th: int64(th), tw: int64(tw),
		duStride: int64(b.c*b.o + winoSpread), splits: 1, rows: 8}}
	a := &w.args
	block := min(32, (scratchFloats/places-2*winoSpread)/(b.c+columns))
	w.together = places*b.c*b.o > winogradSums || block < 8
	if !w.together {
		a.block, a.splits = int64(block), int64(min(winogradSplits, ceilDiv(tiles, block)))
		a.dStride = int64(block*columns + winoSpread)
		return w
	}
	a.block = int64(max(8, ceilDiv(tiles, 64)))
	a.kblock = int64(ceilDiv(ceilDiv(b.c, ceilDiv(b.c, 96)), 6) * 6)
	a.vStride, a.dStride = int64(tiles*b.c+winoSpread), int64(tiles*columns+winoSpread)
	w.x = winoArgs{t: a.t, n: a.n, h: a.h, w: a.w, c: a.c, xc: a.xc, top: a.top, left: a.left, th: a.th, tw: a.tw, vStride: a.vStride, block: a.block}
	return w
}

// parts returns the tasks of the transform of dy, each of which sums dy too.
func (w *winogradGrad) parts() int {
	if w.together {
		return ceilDiv(int(w.args.n*w.args.th*w.args.tw), int(w.args.block))
	}
	return int(w.args.splits)
}

// sizes returns the floats of the sums, of dy's sums, and of x and dy transformed.
func (w *winogradGrad) sizes() (du, db, v, d int) {
	places := int(w.args.t * w.args.t)
	du, db = places*int(w.args.splits*w.args.duStride), roundUp(w.parts()*w.o)
	if w.together {
		v, d = places*int(w.args.vStride), places*int(w.args.dStride)
	}
	return du, db, v, d
}

// lower returns the workspace and the lowering.
func (w *winogradGrad) lower(bias bool) (int, lowering) {
	du, db, v, d := w.sizes()
	return 4 * (du + db + v + d), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		for i := range w.count {
			a := w.args
			a.x, a.dy, a.dw, a.du = floats(at(in[0]), i*w.c), floats(at(in[1]), i*w.o), floats(at(out[0]), i*w.o), ws
			if bias {
				a.db = floats(ws, du)
			}
			if w.together {
				a.v, a.d = floats(ws, du+db), floats(ws, du+db+v)
				x := w.x
				x.x, x.v = a.x, a.v
				push(q, kWinoInput, w.parts(), x)
				push(q, kWinoDy, w.parts(), a)
				push(q, kWinoGrad, int(a.t*a.t)*ceilDiv(w.c, int(a.kblock)), a)
			} else {
				push(q, kWinoGrad, int(a.splits), a)
			}
			push(q, kWinoGradWeight, ceilDiv(w.c, int(a.rows)), a)
			if bias {
				pushReduce(q, a.db, floats(at(out[1]), i*w.o), w.o, w.parts(), w.o)
			}
		}
	}
}
