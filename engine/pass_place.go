package engine

import (
	"cmp"
	"slices"
)

// align is the alignment of every tensor in the arena, a cache line and the
// widest vector.
const align = 64

// A block is a stretch of the arena with the steps during which it is in use.
type block struct {
	value       *Value // nil for a step's workspace
	step        int    // the step of a workspace
	bytes       int
	first, last int
	off         int
}

// lifetimes returns a block for every value that needs arena memory and for
// every workspace. Inputs live from the start to their last use, outputs to
// the end; hoisted values always.
func (p *plan) lifetimes(a aliases) []*block {
	const before = -1
	end := len(p.steps)
	blocks := make(map[*Value]*block)
	var order []*block
	touch := func(v *Value, at int) {
		v = a.root(v)
		if v.variable != nil {
			return
		}
		b := blocks[v]
		if b == nil {
			b = &block{value: v, bytes: max(v.Bytes(), 1), first: at, last: at}
			if v.input {
				b.first = before // uploaded before the first step
			}
			blocks[v] = b
			order = append(order, b)
		}
		b.first, b.last = min(b.first, at), max(b.last, at)
	}
	for _, s := range p.prepare {
		for _, o := range s.out {
			touch(o, before)
			touch(o, end)
		}
		if n := s.kernel.Workspace(); n > 0 {
			order = append(order, &block{step: -1, bytes: n, first: before, last: before})
		}
	}
	for i, s := range p.steps {
		for _, v := range s.in {
			touch(v, i)
		}
		for _, v := range s.out {
			touch(v, i)
		}
		if n := s.kernel.Workspace(); n > 0 {
			order = append(order, &block{step: i, bytes: n, first: i, last: i})
		}
	}
	for _, v := range p.outputs {
		touch(v, end)
	}
	return order
}

// place gives every block an offset so that blocks in use at the same time do
// not overlap, and returns the arena's size: the largest first, each at the
// lowest place that is free during its life.
func place(blocks []*block) (arena int) {
	sorted := slices.Clone(blocks)
	slices.SortStableFunc(sorted, func(x, y *block) int { return cmp.Compare(y.bytes, x.bytes) })
	var placed []*block // by offset
	for _, b := range sorted {
		off := 0
		for _, o := range placed {
			if o.last < b.first || b.last < o.first {
				continue
			}
			if off+b.bytes <= o.off {
				break
			}
			off = max(off, alignUp(o.off+o.bytes))
		}
		b.off = off
		at, _ := slices.BinarySearchFunc(placed, b, func(x, y *block) int { return cmp.Compare(x.off, y.off) })
		placed = slices.Insert(placed, at, b)
		arena = max(arena, off+b.bytes)
	}
	return alignUp(arena)
}

func alignUp(n int) int { return (n + align - 1) &^ (align - 1) }
