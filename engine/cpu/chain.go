package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A chain is an engine.Chain lowered: its links, and how a picture is cut.
type chain struct {
	n, threads int
	picture    int // floats of a picture of x
	links      []*link
	weights    []int // inputs that are packed
	packed     int   // floats of all packed weights

	tiles, rows int // tasks a picture; rows a task
	slot        int // floats of a thread's memory

	work, again float64 // of a picture; the share of it that is done twice

	// What push fills, made once: to enqueue a kernel allocates nothing.
	args []chainLink
	busy []int64
}

// chainLinks is CHAIN_LINKS, the most links of one chain.
const chainLinks = 32

// newChain returns the chain of an op, or why there is none.
func newChain(op engine.Chain, in []engine.Spec, threads int) (*chain, error) {
	if !compiled {
		return nil, fmt.Errorf("chains in plain Go: %w", engine.ErrUnsupported)
	}
	c := &chain{threads: threads}
	err := op.Each(in, func(l engine.Link, extra int, in []engine.Spec, out engine.Spec) error {
		return c.add(l.Op, extra, in, out)
	})
	if err != nil {
		return nil, err
	}
	if len(c.links) > chainLinks {
		return nil, fmt.Errorf("a chain of %d links: %w", len(c.links), engine.ErrUnsupported)
	}
	n, h, w, ch, _ := in[0].NHWC()
	c.n, c.picture = n, h*w*ch
	c.cut(caches().second / 2)
	c.args, c.busy = make([]chainLink, len(c.links)), make([]int64, threads)
	return c, nil
}

// chainPixels are the pixels at a time that a product is worth calling for, and
// chainOthers those that any other link is.
const (
	chainPixels = 96
	chainOthers = 32
)

// chainAgain is the share of the work that may be done twice.
const chainAgain = 0.10

// cut chooses tasks and grains. A task is a picture where there are enough of
// them; else some rows, and what lies between it and the one above is computed twice:
// of the cuts that do little twice the one whose last thread is done earliest, or of
// all cuts if a thread would otherwise have nothing to do. A link computes as few rows at a
// time as are worth a call, fewer where a thread's memory would be more than so many
// bytes. Results do not depend on it.
func (c *chain) cut(bytes int) {
	oh := int(c.links[len(c.links)-1].rows)
	least := 1 // rows of y a task
	for _, l := range c.links {
		pixels := chainOthers
		if l.product != nil {
			pixels = chainPixels
			each := int(l.rows) * l.width / oh // pixels for a row of the chain's y
			least = max(least, ceilDiv(chainPixels, max(each, 1)))
		}
		l.grain = int64(ceilDiv(pixels, l.width))
	}
	most := 1
	if c.n < 4*c.threads {
		most = min(ceilDiv(4*c.threads, c.n), max(oh/least, 1))
	}
	var once float64
	fastest := func(again float64) { // that does no more than this share of the work twice
		c.cutInto(1)
		once = c.work
		best, shortest := 1, c.time()
		for tiles := 2; tiles <= most; tiles++ {
			if c.cutInto(tiles); c.work <= (1+again)*once && c.time() < shortest {
				best, shortest = tiles, c.time()
			}
		}
		c.cutInto(best)
	}
	if fastest(chainAgain); c.n*c.tiles < c.threads {
		fastest(math.Inf(1))
	}
	c.again = c.work/once - 1
	for 4*c.slot > bytes && c.halve() {
		c.fit()
	}
}

// chainLate is how late one of several threads may begin, in tasks.
const chainLate = 0.25

// time estimates when the last thread is done, in the unit of work: tasks are as long as
// the longest, and a thread that is not alone may begin late.
func (c *chain) time() float64 {
	task := c.work * float64(c.rows) / float64(c.links[len(c.links)-1].rows)
	each := float64(ceilDiv(c.n*c.tiles, c.threads))
	if c.threads > 1 {
		each += chainLate
	}
	return each * task
}

// halve halves the grains and reports whether there was anything to halve.
func (c *chain) halve() (halved bool) {
	for _, l := range c.links {
		halved = halved || l.grain > 1
		l.grain = (l.grain + 1) / 2
	}
	return halved
}

// cutInto cuts a picture into so many tasks, or a few less.
func (c *chain) cutInto(tiles int) {
	oh := int(c.links[len(c.links)-1].rows)
	c.rows = ceilDiv(oh, tiles)
	c.tiles = ceilDiv(oh, c.rows)
	c.fit()
}

// fit gives every link but the last its memory, twice the rows that it must hold,
// so that they seldom move, and adds up the work of a picture.
func (c *chain) fit() {
	last := len(c.links) - 1
	most := make([]int, last)
	c.work = 0
	for t := range c.tiles {
		c.trace(t*c.rows, min((t+1)*c.rows, int(c.links[last].rows)), func(i, keep, from, to int) {
			if i < last {
				most[i] = max(most[i], to-keep)
			}
			c.work += float64(to-from) * c.links[i].work
		})
	}
	c.slot = 0
	for i, l := range c.links[:last] {
		l.memory, l.room = int64(c.slot), int64(min(2*most[i], int(l.rows)))
		c.slot += roundUp(int(l.room * l.out))
	}
}

// trace goes through rows [lo, hi) of y as chain of chain.h does, and calls f for
// each link with the rows [from, to) that it computes and the first that it holds.
func (c *chain) trace(lo, hi int, f func(link, keep, from, to int)) {
	last := len(c.links) - 1
	have := make([]int, last+1)
	for i, first := last, lo; i >= 0; i-- {
		have[i] = first
		first = c.links[i].needs[first].First
	}
	var pull func(i, to int)
	pull = func(i, to int) {
		keep := have[i]
		if i < last {
			keep = c.links[i+1].needs[have[i+1]].First
			have[i] = max(have[i], keep)
		}
		for have[i] < to {
			end := min(to, have[i]+int(c.links[i].grain))
			if i > 0 {
				pull(i-1, c.links[i].needs[end-1].End)
			}
			f(i, keep, have[i], end)
			have[i] = end
		}
	}
	pull(last, hi)
}

// pushPack enqueues the packing of all weights.
func (c *chain) pushPack(q *queue, in []engine.Tensor, packed unsafe.Pointer) {
	for _, l := range c.links {
		if l.product != nil {
			l.product.pushPack(q, at(in[l.w]), floats(packed, l.at))
		}
	}
}

// push enqueues the chain with packed weights; memory is that of all threads.
func (c *chain) push(q *queue, in, out []engine.Tensor, memory, packed unsafe.Pointer) {
	for i, l := range c.links {
		c.args[i] = l.chainLink
		c.args[i].need = keep(&q.memory, l.flat)
		c.args[i].args = l.args(q, in, packed)
	}
	a := chainArgs{links: keep(&q.memory, c.args), x: at(in[0]), y: at(out[0]), memory: memory, count: int64(len(c.args)),
		busy: keep(&q.memory, c.busy), picture: int64(c.picture), tiles: int64(c.tiles), rows: int64(c.rows),
		slots: int64(c.threads), slot: int64(c.slot)}
	push(q, kChain, c.n*c.tiles, a)
}

func flatNeeds(needs []engine.Span) []int64 {
	flat := make([]int64, 0, 2*len(needs))
	for _, s := range needs {
		flat = append(flat, int64(s.First), int64(s.End))
	}
	return flat
}

// compileChain returns the kernel of a chain.
func (b *Backend) compileChain(op engine.Chain, in []engine.Spec) (engine.Kernel, error) {
	c, err := newChain(op, in, b.threads)
	if err != nil {
		return nil, err
	}
	memory := c.slot * c.threads
	k := &kernel{backend: b, ws: 4 * (memory + c.packed)}
	k.lower = func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		packed := floats(ws, memory)
		c.pushPack(q, in, packed)
		c.push(q, in, out, ws, packed)
	}
	if c.packed > 0 {
		k.once = &preparation{
			inputs:  c.weights,
			bytes:   4 * c.packed,
			prepare: c.pushPack,
			lower: func(q *queue, in, out []engine.Tensor, ws, kept unsafe.Pointer) {
				c.push(q, in, out, ws, kept)
			},
		}
	}
	return k, nil
}

// Chains implements engine.Chainer.
func (b *Backend) Chains(op engine.Chain, in, _ []engine.Spec) bool {
	c, err := newChain(op, in, b.threads)
	return err == nil && c.worth(caches().second)
}

// chainBytes are the bytes that must be saved for each multiplication and addition
// of two links, for these to be joined: convolutions that compute long with what they
// read lose nothing by memory.
const chainBytes = 0.02

// worth reports whether the chain should be one, for a second cache of so many
// bytes: a thread's memory must fit it beside the weights, every thread have rows
// enough, what lies between any two links be much for what they compute, what is
// computed twice be little, or else what lies between be more than the threads'
// caches hold, and no two chains in its place be done earlier.
func (c *chain) worth(cache int) bool {
	last := c.links[len(c.links)-1]
	if pixels := c.n * int(last.rows) * last.width; 4*(c.slot+c.packed) > cache || pixels < chainPixels*c.threads && c.n < c.threads {
		return false
	}
	between := 0
	for i, l := range c.links[:len(c.links)-1] {
		next := c.links[i+1]
		floats := float64(l.rows * l.out)
		if l.kind != chainPad && 2*4*floats < chainBytes*2*(float64(l.rows)*l.work+float64(next.rows)*next.work) {
			return false
		}
		between = max(between, 4*c.n*int(floats))
	}
	if c.again > chainAgain && (c.again > 3*chainAgain || between <= cache*c.threads/2) {
		return false
	}
	return !c.fasterInTwo(cache)
}

// What two chains cost that one does not, in multiplications of a thread: the way of an element
// between them to memory and back, where the threads' caches hold them all and where they do
// not, and the beginning of another step.
const (
	chainNear = 24
	chainFar  = 48
	chainStep = 250_000
)

// fasterInTwo reports whether two chains in place of one are expected to be done earlier: the
// longer a chain, the more rows its tasks compute twice.
func (c *chain) fasterInTwo(cache int) bool {
	if c.tiles == 1 {
		return false
	}
	whole := c.time()
	for i, l := range c.links[:len(c.links)-1] {
		if l.kind == chainPad {
			continue
		}
		elements, each := float64(c.n)*float64(l.rows*l.out), float64(chainNear)
		if 4*elements > float64(cache*c.threads/2) {
			each = chainFar
		}
		first, second := c.part(0, i+1, cache), c.part(i+1, len(c.links), cache)
		if first.time()+second.time()+elements*each/float64(c.threads)+chainStep < whole {
			return true
		}
	}
	return false
}

// part returns the chain of some of the links, for a second cache of so many bytes.
func (c *chain) part(from, to, cache int) *chain {
	p := &chain{n: c.n, threads: c.threads}
	for _, l := range c.links[from:to] {
		p.links = append(p.links, new(*l))
	}
	p.cut(cache / 2)
	return p
}
