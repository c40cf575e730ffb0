package layers

import (
	"fmt"
	"slices"
)

// Select returns the rewrite that keeps, of each group that is named, the units
// with the given numbers, in the order given, and all of the other groups.
//
// In any order but the ascending one, the kept channels change places: unit k
// of the new net is unit keep[k] of the old one, wherever its channels lie, and
// the net computes the same as with the numbers sorted.
func Select(keep map[string][]int) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		g, err := n.groups()
		if err != nil {
			return nil, nil, err
		}
		for name, units := range keep {
			i := slices.IndexFunc(g.groups, func(x Group) bool { return x.Name == name })
			if i < 0 {
				return nil, nil, fmt.Errorf("%s: there is no channel group %s", n, name)
			}
			if err := g.groups[i].check(units); err != nil {
				return nil, nil, fmt.Errorf("%s: group %s: %w", n, name, err)
			}
		}
		return g.keep(n, s, keep)
	}
}

// check reports what is wrong with the units that are to be kept.
func (g *Group) check(units []int) error {
	if g.Fixed != "" {
		return fmt.Errorf("it cannot be cut: %s", g.Fixed)
	}
	if len(units) == 0 {
		return fmt.Errorf("nothing would be left of its %d units; keep at least one", g.Size)
	}
	seen := make(map[int]bool, len(units))
	for _, u := range units {
		if u < 0 || u >= g.Size || seen[u] {
			return fmt.Errorf("unit %d of %d is kept twice, or there is none of that number", u, g.Size)
		}
		seen[u] = true
	}
	return nil
}

// Resized returns the net with other sizes of its groups, in units by the
// groups' names; what is not listed stays. It makes nets wider too, and changes
// the groups of the image and of the classes. The new net has no values: what
// is to keep its values is cut by Select.
func (n *Net) Resized(sizes map[string]int) (*Net, error) {
	g, err := n.groups()
	if err != nil {
		return nil, err
	}
	keep := make(map[string][]int)
	for _, x := range g.groups {
		size, ok := sizes[x.Name]
		if !ok || size == x.Size {
			continue
		}
		if size < 1 || size > maxFeatures {
			return nil, fmt.Errorf("%s: group %s of %d units; give a number from 1 to %d", n, x.Name, size, maxFeatures)
		}
		units := make([]int, size)
		for i := range units {
			units[i] = min(i, x.Size-1) // what is added stands where the last unit does
		}
		keep[x.Name] = units
	}
	out, _, err := g.keep(n, nil, keep)
	return out, err
}

// keep rewrites the net with the units that stay of each group.
func (g *grouping) keep(n *Net, s StateDict, keep map[string][]int) (*Net, StateDict, error) {
	p := &picker{grouping: g, plans: make([]*plan, len(g.groups))}
	for i, x := range g.groups {
		units, ok := keep[x.Name]
		if !ok {
			continue
		}
		p.plans[i] = newPlan(x.Size, units)
	}
	out := n.clone()
	if kept := p.stay(g.values[Image]); kept != nil {
		out.Input.Channels = len(kept)
	}
	for i := range out.Modules {
		m := &out.Modules[i]
		in := make([][]int, len(m.In))
		for k, from := range m.In {
			in[k] = p.stay(g.values[from])
		}
		kind, err := m.Kind.Keep(in, p.stay(g.values[m.Name]))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", n, m.Name, err)
		}
		m.Kind = kind
	}
	return n.rewritten(out, s, func() (StateDict, error) { return p.state(s), nil })
}

// state cuts the tensors.
func (p *picker) state(s StateDict) StateDict {
	out := slices.Clone(s)
	at := make(map[string]int, len(s))
	for i, e := range s {
		at[e.Name] = i
	}
	for _, x := range p.axes {
		if kept := p.pick(x.at); kept != nil {
			e := &out[at[x.tensor]]
			*e = e.take(x.axis, kept)
		}
	}
	return out
}

// take returns the part of an entry with the given indices of an axis, stored in
// full.
func (e Entry) take(axis int, kept []int) Entry {
	inner := 1
	for _, d := range e.Shape[axis+1:] {
		inner *= d
	}
	row := e.Shape[axis] * inner
	data := make([]float32, 0, len(e.Data)/max(row, 1)*len(kept)*inner)
	for at := 0; at < len(e.Data); at += row {
		for _, k := range kept {
			data = append(data, e.Data[at+k*inner:at+(k+1)*inner]...)
		}
	}
	e.Shape = slices.Clone(e.Shape)
	e.Shape[axis], e.Data, e.Codes = len(kept), data, nil
	return e
}

// A plan says what becomes of a group's units.
type plan struct {
	times []int // how often each stays, where their order does
	order []int // the units in their new order; nil where it stays
}

func newPlan(size int, units []int) *plan {
	if !slices.IsSorted(units) {
		return &plan{order: units}
	}
	p := &plan{times: make([]int, size)}
	for _, u := range units {
		p.times[u]++
	}
	return p
}

// A picker finds the indices that stay on the axes of values and tensors.
type picker struct {
	*grouping
	plans []*plan // of the groups; nil: all stays
}

// stay returns the places that are left of an axis along which these elements
// lie, ascending, whichever channels come to stand there; nil if all are.
func (p *picker) stay(at []Elem) []int {
	changed := false
	kept := make([]int, 0, len(at))
	for i, e := range at {
		times := 1
		switch pl := p.plans[p.group[e]]; {
		case pl == nil:
		case pl.order == nil:
			times = pl.times[p.unit[e]]
		case int(p.unit[e]) >= len(pl.order):
			times = 0
		}
		changed = changed || times != 1
		for range times {
			kept = append(kept, i)
		}
	}
	if !changed {
		return nil
	}
	return kept
}

// pick returns the indices that stay of an axis along which these elements lie,
// in their new order; nil if all stay where they are.
func (p *picker) pick(at []Elem) []int {
	changed := false
	for _, e := range at {
		if p.plans[p.group[e]] != nil {
			changed = true
			break
		}
	}
	if !changed {
		return nil
	}
	places := p.places(at)
	met := make(map[Elem]int)
	kept := make([]int, 0, len(at))
	for i, e := range at {
		pl := p.plans[p.group[e]]
		switch {
		case pl == nil:
			kept = append(kept, i)
		case pl.order == nil:
			for range pl.times[p.unit[e]] {
				kept = append(kept, i)
			}
		case int(p.unit[e]) < len(pl.order):
			// The place of unit k is taken by the element of unit order[k] that
			// has the same role, the n-th of them where it lies here often.
			k := key{p.group[e], int32(pl.order[p.unit[e]]), p.role[e]}
			kept = append(kept, places[k][met[e]])
			met[e]++
		}
	}
	return kept
}

// A key names an element by what it is in its group.
type key struct{ group, unit, role int32 }

// places returns where each element of a reordered group lies on an axis.
func (p *picker) places(at []Elem) map[key][]int {
	out := make(map[key][]int)
	for i, e := range at {
		if pl := p.plans[p.group[e]]; pl != nil && pl.order != nil {
			k := key{p.group[e], p.unit[e], p.role[e]}
			out[k] = append(out[k], i)
		}
	}
	return out
}
