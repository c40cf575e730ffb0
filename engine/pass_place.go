package engine

import (
	"cmp"
	"slices"
)

// align is the alignment of every tensor in the arena, a cache line and the
// widest vector.
const align = 64

// before is the time before the first step, when inputs are uploaded and
// hoisted steps run.
const before = -1

// A block is a stretch of the arena with the steps during which it is in use.
type block struct {
	bytes       int
	first, last int
	off         int
}

// A layout says where everything of a plan lies.
type layout struct {
	values map[*Value]*block // by the root of their aliases; variables are elsewhere
	staged *block            // where the next run's inputs wait, nil without a Pipeliner
	blocks []*block
	size   int
}

// layOut gives every value, workspace and kept block its place. Inputs live
// from the start to their last use, outputs to the end, hoisted values and what
// kernels keep always.
func (p *plan) layOut(a aliases) *layout {
	l := &layout{values: make(map[*Value]*block)}
	end := len(p.steps)
	touch := func(v *Value, at int) {
		v = a.root(v)
		if v.variable != nil {
			return
		}
		b := l.values[v]
		if b == nil {
			b = &block{bytes: max(v.Bytes(), 1), first: at, last: at}
			if v.input {
				b.first = before
			}
			l.values[v] = b
			l.blocks = append(l.blocks, b)
		}
		b.first, b.last = min(b.first, at), max(b.last, at)
	}
	scratch := func(s *step, at int) {
		if n := s.kernel.Workspace(); n > 0 {
			s.ws = &block{bytes: n, first: at, last: at}
			l.blocks = append(l.blocks, s.ws)
		}
	}
	for _, s := range p.prepare {
		for _, o := range s.out {
			touch(o, before)
			touch(o, end)
		}
		scratch(s, before)
	}
	for i, s := range p.steps {
		for _, v := range s.in {
			touch(v, i)
		}
		for _, v := range s.out {
			touch(v, i)
		}
		if s.packed != nil {
			touch(s.packed, i)
		}
		scratch(s, i)
		if s.kept != nil {
			l.blocks = append(l.blocks, s.kept)
		}
	}
	for _, v := range p.outputs {
		touch(v, end)
	}
	p.stage(l)
	l.size = place(l.blocks)
	return l
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
