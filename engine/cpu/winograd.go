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
// For values of one size that is less than the suite allows the direct sum. The
// products add up few terms one by one (run_panel in gemm_run.h): without that, most
// of the error would be theirs. A
// pixel far above its neighbors, though, costs all results of its tile digits, and
// not only those that it is in.
type winograd struct {
	bundle
	t    int
	args winoArgs
	kern winoWeightArgs
	// together says that all tiles are transformed before the products, because tasks share
	// them: where tiles are few and there are several panels, or where channels are so many
	// that few tiles fit the scratch memory.
	together bool
	most     int // tiles that a task may have where the number of threads decides, else 0
}

// A bundle is some groups of a convolution, which are computed as one dense
// convolution whose matrix has blocks along its diagonal alone: where a group has
// fewer channels than a vector. Else it is one group.
type bundle struct {
	c, o   int // channels of x and of y
	groups int // in it
	count  int // of such bundles
}

// bundleChannels is up to how many channels groups are bundled: those of the widest vector.
const bundleChannels = 16

// bundles returns how the groups are bundled.
func (g geometry) bundles() bundle {
	m := 1
	for k := 2; k*max(g.cg, g.og) <= bundleChannels && k <= g.groups; k++ {
		if g.groups%k == 0 {
			m = k
		}
	}
	return bundle{c: m * g.cg, o: m * g.og, groups: m, count: g.groups / m}
}

// minimal reports whether minimal filtering has the convolution.
func (g geometry) minimal() bool {
	b := g.bundles()
	return compiled && g.dtype == engine.Float32 && g.kh == 3 && g.kw == 3 && g.stride == engine.Both(1) && g.dil == engine.Both(1) && b.c >= 8 && b.o >= 8
}

// winogradSide returns the side t of the tiles for a bundle, 0 if the direct sum is
// better. The costs are in multiply-adds, where the direct sum fills up vectors;
// they depend on shapes alone, so that results are the same on every machine.
func winogradSide(g geometry, b bundle) int {
	direct := 9 * g.n * g.oh * g.ow * b.c * max(g.og, min(bundleChannels, b.o))
	best, side := direct*4/5, 0
	for _, t := range []int{4, 6} {
		tiles := g.n * ceilDiv(g.oh, t-2) * ceilDiv(g.ow, t-2)
		places := t * t
		cost := places*b.c*b.o*tiles + 5*places*(b.c+b.o)*tiles + 20*places*b.c*b.o
		if cost < best && (side == 0 || cost < best*9/10) {
			best, side = cost, t
		}
	}
	return side
}

// newWinograd returns nil where the direct sum is better. g is that of the
// convolution whose results are computed: see flipped.
func newWinograd(g geometry, act engine.Act) *winograd {
	if !g.minimal() {
		return nil
	}
	b := g.bundles()
	t := winogradSide(g, b)
	if t == 0 {
		return nil
	}
	w := &winograd{bundle: b, t: t}
	a := &w.args
	*a = winoArgs{t: int64(t), n: int64(g.n), h: int64(g.h), w: int64(g.w), c: int64(b.c), oh: int64(g.oh), ow: int64(g.ow), o: int64(b.o),
		xc: int64(g.c), yc: int64(g.o), top: int64(g.pad[0]), left: int64(g.pad[1]), th: int64(ceilDiv(g.oh, t-2)), tw: int64(ceilDiv(g.ow, t-2))}
	a.act, a.more = splitAct(act)
	a.uStride = int64(b.c*panelFloats(b.o) + winoSpread)
	w.kern = winoWeightArgs{t: a.t, kc: a.c, gn: a.o, tapStride: int64(g.cg * g.o), kStride: int64(g.o), nStride: 1, uStride: a.uStride, rows: 8}
	if b.groups > 1 {
		w.kern.kb, w.kern.nb = int64(g.cg), int64(g.og)
	}
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
	few := each < 12 || ceilDiv(tiles, each) < 12
	switch {
	case each < 12 || few && w.o > winoPanel:
		w.together, w.most = true, room/winoPanel // see cut
		a.vStride = int64(tiles*w.c + winoSpread)
	case few:
		w.most = each
	default:
		a.block, a.splits = int64(ceilDiv(tiles, ceilDiv(tiles, each))), 1 // all tasks alike
	}
}

// cut returns how many tiles a task takes and in how many parts the panels are split, for
// the last of so many threads to be done first.
func (w *winograd) cut(threads int) (block, splits int64) {
	tiles, panels, shortest := int(w.args.n*w.args.th*w.args.tw), ceilDiv(w.o, winoPanel), 0
	for blocks := ceilDiv(tiles, min(w.most, winoTiles)); blocks <= ceilDiv(tiles, 6); blocks++ {
		for parts := 1; parts <= panels; parts++ {
			each, columns := ceilDiv(tiles, blocks), min(ceilDiv(panels, parts)*winoPanel, w.o)
			task := w.t*w.t*w.c*columns*(roundTo(each, 6)+fetchWeights) + beginTask
			time := lastDone(ceilDiv(tiles, each)*parts, threads, task)
			if shortest == 0 || time < shortest {
				block, splits, shortest = int64(each), int64(parts), time
			}
		}
	}
	return block, splits
}

// winoTiles bounds the tiles of a task: with their products they stay in the second cache.
const winoTiles = 64

// roundTo returns the smallest multiple of m that is at least n.
func roundTo(n, m int) int { return ceilDiv(n, m) * m }

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
		w.kern.flip, w.kern.tapStride, w.kern.kStride, w.kern.nStride = 1, int64(g.cg*g.o), 1, int64(g.o)
	}
	return w
}

// oneFloats is the size of the transformed weights of a bundle, keptFloats that of all.
func (w *winograd) oneFloats() int  { return roundUp(w.t * w.t * int(w.args.uStride)) }
func (w *winograd) keptFloats() int { return w.count * w.oneFloats() }

// sharedFloats is that of a bundle's transformed x, if tasks share it.
func (w *winograd) sharedFloats() int {
	if !w.together {
		return 0
	}
	return w.t * w.t * int(w.args.vStride)
}

// pushKernels enqueues the transform of the weights.
func (w *winograd) pushKernels(q *queue, weights, u unsafe.Pointer) {
	for i := range w.count {
		k := w.kern
		first := i * w.o
		if k.flip != 0 {
			first = i * w.c // the columns of the weights are the channels of dy
		}
		k.w, k.u = floats(weights, first), floats(u, i*w.oneFloats())
		push(q, kWinoWeight, ceilDiv(int(k.kc), int(k.rows)), k)
	}
}

// push enqueues the rest; v is room for sharedFloats.
func (w *winograd) push(q *queue, x, u, bias, res, y, v unsafe.Pointer) {
	part := func(p unsafe.Pointer, n int) unsafe.Pointer {
		if p == nil {
			return nil
		}
		return floats(p, n)
	}
	for i := range w.count {
		a := w.args
		a.x, a.u, a.bias, a.res, a.y = floats(x, i*w.c), floats(u, i*w.oneFloats()), part(bias, i*w.o), part(res, i*w.o), floats(y, i*w.o)
		tiles := int(a.n * a.th * a.tw)
		if w.together {
			a.v = v
			in := a
			in.block = 8
			push(q, kWinoInput, ceilDiv(tiles, 8), in)
		}
		if w.most > 0 {
			a.block, a.splits = w.cut(q.threads)
		}
		push(q, kWino, ceilDiv(tiles, int(a.block))*int(a.splits), a)
	}
}
