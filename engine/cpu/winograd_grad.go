package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A winogradGrad is the gradient of a 3x3 convolution's weights by minimal
// filtering: winograd_grad.h. Its results are within the bound said of winograd,
// with K the number of pixels.
type winogradGrad struct {
	winoGradArgs
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
	if !compiled || g.kh != 3 || g.kw != 3 || g.stride != engine.Both(1) || g.dil != engine.Both(1) || g.groups != 1 || g.c < 8 || g.o < 8 {
		return nil
	}
	t := winogradSide(g.n, g.oh, g.ow, g.c, g.o)
	if t == 0 {
		return nil
	}
	th, tw, places := ceilDiv(g.oh, t-2), ceilDiv(g.ow, t-2), t*t
	tiles, columns := g.n*th*tw, panelFloats(g.o)
	w := &winogradGrad{winoGradArgs: winoGradArgs{t: int64(t), n: int64(g.n), h: int64(g.h), w: int64(g.w), c: int64(g.c),
		oh: int64(g.oh), ow: int64(g.ow), o: int64(g.o), top: int64(g.pad[0]), left: int64(g.pad[1]), th: int64(th), tw: int64(tw),
		duStride: int64(g.c*g.o + winoSpread), splits: 1, rows: 8}}
	block := min(32, (scratchFloats/places-2*winoSpread)/(g.c+columns))
	w.together = places*g.c*g.o > winogradSums || block < 8
	if !w.together {
		w.block, w.splits = int64(block), int64(min(winogradSplits, ceilDiv(tiles, block)))
		w.dStride = int64(block*columns + winoSpread)
		return w
	}
	w.block = int64(max(8, ceilDiv(tiles, 64)))
	w.kblock = int64(ceilDiv(ceilDiv(g.c, ceilDiv(g.c, 96)), 6) * 6)
	w.vStride, w.dStride = int64(tiles*g.c+winoSpread), int64(tiles*columns+winoSpread)
	w.x = winoArgs{t: w.t, n: w.n, h: w.h, w: w.w, c: w.c, top: w.top, left: w.left, th: w.th, tw: w.tw, vStride: w.vStride, block: w.block}
	return w
}

// parts returns the tasks of the transform of dy, each of which sums dy too.
func (w *winogradGrad) parts() int {
	if w.together {
		return ceilDiv(int(w.n*w.th*w.tw), int(w.block))
	}
	return int(w.splits)
}

// sizes returns the floats of the sums, of dy's sums, and of x and dy transformed.
func (w *winogradGrad) sizes() (du, db, v, d int) {
	places := int(w.t * w.t)
	du, db = places*int(w.splits*w.duStride), roundUp(w.parts()*int(w.o))
	if w.together {
		v, d = places*int(w.vStride), places*int(w.dStride)
	}
	return du, db, v, d
}

// lower returns the workspace and the lowering.
func (w *winogradGrad) lower(bias bool) (int, lowering) {
	du, db, v, d := w.sizes()
	return 4 * (du + db + v + d), func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		a := w.winoGradArgs
		a.x, a.dy, a.dw, a.du = at(in[0]), at(in[1]), at(out[0]), ws
		if bias {
			a.db = floats(ws, du)
		}
		if w.together {
			a.v, a.d = floats(ws, du+db), floats(ws, du+db+v)
			x := w.x
			x.x, x.v = a.x, a.v
			push(q, kWinoInput, w.parts(), x)
			push(q, kWinoDy, w.parts(), a)
			push(q, kWinoGrad, int(a.t*a.t)*ceilDiv(int(a.c), int(a.kblock)), a)
		} else {
			push(q, kWinoGrad, int(a.splits), a)
		}
		push(q, kWinoGradWeight, ceilDiv(int(a.c), int(a.rows)), a)
		if bias {
			pushReduce(q, a.db, at(out[1]), int(a.o), w.parts(), int(a.o))
		}
	}
}
