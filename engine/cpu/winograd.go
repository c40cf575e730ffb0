package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A winograd is a 3x3 convolution with stride one, or the gradient of its input,
// by minimal filtering in tiles of t×t pixels: winograd.h. Results are
// not those of the direct sum to the last digits: with u = 2⁻²⁴ and K = 9·C terms,
// an element is within √K·u·M/16 of the exact one, where M is the same sum
// over the whole tile in absolute values (winograd_test.go),
//
//	M = |Aᵀ|·[Σ_c (|G|·|w|·|Gᵀ|) ⊙ (|Bᵀ|·|x|·|B|)]·|A|
//
// For values of one size that is less than the suite allows the direct sum. A
// pixel far above its neighbors, though, costs all results of its tile digits, and
// not only those that it is in.
type winograd struct {
	geometry
	t    int
	flip bool // the gradient: x is dy, and the kernel is turned round
	args winoArgs
	kern winoWeightArgs
	// together says that all tiles are transformed before the products: where
	// tiles are few, tasks share them.
	together bool
}

// winogradSide returns the side t of the tiles of a convolution of n pictures with
// oh×ow results, c and o channels, 0 if the direct sum is better. The costs are in
// multiply-adds; they depend on shapes alone, so that results are the same on
// every machine.
func winogradSide(n, oh, ow, c, o int) int {
	direct := 9 * n * oh * ow * c * o
	best, side := direct*4/5, 0
	for _, t := range []int{4, 6} {
		tiles := n * ceilDiv(oh, t-2) * ceilDiv(ow, t-2)
		places := t * t
		cost := places*c*o*tiles + 5*places*(c+o)*tiles + 20*places*c*o
		if cost < best && (side == 0 || cost < best*9/10) {
			best, side = cost, t
		}
	}
	return side
}

// newWinograd returns nil where the direct sum is better. g is that of the
// convolution whose results are computed: see flipped.
func newWinograd(g geometry, act engine.Act) *winograd {
	if !compiled || g.kh != 3 || g.kw != 3 || g.stride != engine.Both(1) || g.dil != engine.Both(1) || g.groups != 1 || g.c < 8 || g.o < 8 {
		return nil
	}
	t := winogradSide(g.n, g.oh, g.ow, g.c, g.o)
	if t == 0 {
		return nil
	}
	w := &winograd{geometry: g, t: t}
	a := &w.args
	*a = winoArgs{t: int64(t), n: int64(g.n), h: int64(g.h), w: int64(g.w), c: int64(g.c), oh: int64(g.oh), ow: int64(g.ow), o: int64(g.o),
		top: int64(g.pad[0]), left: int64(g.pad[1]), th: int64(ceilDiv(g.oh, t-2)), tw: int64(ceilDiv(g.ow, t-2))}
	a.act, a.more = splitAct(act)
	a.uStride = int64(g.c*panelFloats(g.o) + winoSpread)
	w.kern = winoWeightArgs{t: a.t, kc: a.c, gn: a.o, tapStride: int64(g.c * g.o), kStride: int64(g.o), nStride: 1, uStride: a.uStride, rows: 8}
	w.block()
	return w
}

// winoSpread is WINO_SPREAD, and winoPanel the widest panel of any variant.
const (
	winoSpread = 16
	winoPanel  = 64
)

// block chooses how tiles are shared out.
func (w *winograd) block() {
	a, places := &w.args, w.t*w.t
	tiles := int(a.n * a.th * a.tw)
	room := scratchFloats/places - 2*winoSpread // for the tiles of a task, and their products
	each := min(48, room/(w.c+winoPanel))
	if w.together = each < 12 || ceilDiv(tiles, each) < 12; w.together {
		a.vStride = int64(tiles*w.c + winoSpread)
		each = min(48, room/winoPanel)
	}
	each = ceilDiv(tiles, ceilDiv(tiles, each)) // all tasks alike
	a.block, a.splits = int64(each), 1
	if blocks := ceilDiv(tiles, each); w.together && blocks < 12 {
		a.splits = int64(min(ceilDiv(12, blocks), ceilDiv(w.o, winoPanel)))
	}
}

// flipped returns the convolution that takes dy to dx: of dy, with the kernel
// turned round.
func (g geometry) flipped() geometry {
	f := g
	f.h, f.w, f.c, f.oh, f.ow, f.o = g.oh, g.ow, g.o, g.h, g.w, g.c
	f.pad = engine.Pads{g.dil[0]*(g.kh-1) - g.pad[0], g.dil[1]*(g.kw-1) - g.pad[1]} // bottom and right are not read
	f.cg, f.og = g.og, g.cg
	return f
}

// newWinogradData returns that of the gradient of x, nil where the direct sum is better.
func newWinogradData(g geometry) *winograd {
	w := newWinograd(g.flipped(), engine.Identity)
	if w != nil {
		w.kern.flip, w.kern.kStride, w.kern.nStride = 1, 1, int64(g.o)
	}
	return w
}

// keptFloats is the size of the transformed weights.
func (w *winograd) keptFloats() int { return w.t * w.t * int(w.args.uStride) }

// sharedFloats is that of the transformed x, if tasks share it.
func (w *winograd) sharedFloats() int {
	if !w.together {
		return 0
	}
	return w.t * w.t * int(w.args.vStride)
}

// pushKernels enqueues the transform of the weights.
func (w *winograd) pushKernels(q *queue, weights, u unsafe.Pointer) {
	k := w.kern
	k.w, k.u = weights, u
	push(q, kWinoWeight, ceilDiv(int(k.kc), int(k.rows)), k)
}

// push enqueues the rest; v is room for sharedFloats.
func (w *winograd) push(q *queue, x, u, bias, res, y, v unsafe.Pointer) {
	a := w.args
	a.x, a.u, a.bias, a.res, a.y = x, u, bias, res, y
	tiles := int(a.n * a.th * a.tw)
	if w.together {
		a.v = v
		in := a
		in.block = 8
		push(q, kWinoInput, ceilDiv(tiles, 8), in)
	}
	push(q, kWino, ceilDiv(tiles, int(a.block))*int(a.splits), a)
}
