package identify

import (
	"slices"
	"strings"
	"sync"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// An outline is what a net's tensors look like: enough to see which nets a file
// can hold before the groups of their channels are found, which takes longer.
type outline struct {
	slots   []slot
	modules []module // of indices into slots
	kernels int      // tensors of four axes
	least   int      // tensors that a file of the net cannot lack
}

// measure fills in what follows from the slots.
func (o *outline) measure() {
	parts := make([]part, len(o.slots))
	for i := range o.slots {
		s := &o.slots[i]
		parts[i] = part{name: s.name, shape: s.shape, index: i}
		if !s.counter {
			o.least++
		}
		if len(s.shape) == 4 {
			o.kernels++
		}
	}
	o.modules = group(parts)
}

// could reports whether all tensors of a file can have places in one of the ways.
func (o *outline) could(c *content, way int) bool {
	if n := len(c.tensors); n < o.least || n > len(o.slots) {
		return false
	}
	switch way {
	case wayNames:
		for i := range o.slots {
			if s := &o.slots[i]; !s.counter {
				if j, ok := c.byName[s.name]; !ok || len(c.tensors[j].Shape) != len(s.shape) {
					return false
				}
			}
		}
	case wayModules:
		return slices.EqualFunc(o.modules, c.modules, alike)
	case waySorted:
		return slices.EqualFunc(o.modules, c.sorted, alike)
	}
	return true
}

func alike(a, b module) bool { return a.kind == b.kind }

// similarity is the share of the tensors that a file has by name, or that of the
// modules that it has by kind, if that is more; between 0 and 1.
func (o *outline) similarity(c *content) float64 {
	names := 0
	for i := range o.slots {
		if j, ok := c.byName[o.slots[i].name]; ok && len(c.tensors[j].Shape) == len(o.slots[i].shape) {
			names++
		}
	}
	count := make(map[kind]int)
	for _, m := range c.modules {
		count[m.kind]++
	}
	modules := 0
	for _, m := range o.modules {
		if count[m.kind] > 0 {
			count[m.kind]--
			modules++
		}
	}
	return max(float64(names)/float64(max(len(o.slots), len(c.tensors))), float64(modules)/float64(max(len(o.modules), len(c.modules), 1)))
}

// A family is one of package layers, by its outline. Its template is made when it
// is asked for.
type family struct {
	outline
	name     string
	beside   []string
	template func() (*template, error)
}

// families are all of package layers.
var families = sync.OnceValues(func() ([]*family, error) {
	var fs []*family
	for _, name := range layers.Families() {
		ts, err := layers.FamilyTensors(name)
		if err != nil {
			return nil, err
		}
		f := &family{name: name, beside: layers.FamilyBeside(name)}
		for _, t := range ts {
			f.slots = append(f.slots, slot{name: t.Name, shape: t.Shape, counter: t.Counter})
		}
		f.measure()
		f.template = sync.OnceValues(func() (*template, error) {
			n, err := layers.Arch{Family: name, Classes: 2}.Net()
			if err != nil {
				return nil, err
			}
			return newTemplate(n)
		})
		fs = append(fs, f)
	}
	return fs, nil
})

// nearest returns up to n families, those that a file looks most like first.
// There is none that has nothing in common with it.
func nearest(fs []*family, c *content, n int) []*family {
	like := make(map[*family]float64, len(fs))
	var out []*family
	for _, f := range fs {
		if like[f] = f.similarity(c); like[f] > 0 {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b *family) int {
		switch {
		case like[a] > like[b]:
			return -1
		case like[a] < like[b]:
			return 1
		}
		return 0
	})
	return out[:min(len(out), n)]
}

// Nearest returns the names of up to n families that tensors look most like, the
// nearest first.
func Nearest(tensors []named.Tensor, n int) []string {
	fs, err := families()
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range nearest(fs, newContent(tensors), n) {
		names = append(names, f.name)
	}
	return names
}

// whole returns the attempt at finding a net of which the file holds all tensors
// and no other, nil if there is none, and with it the attempts at other families
// that have no problem either.
func whole(fs []*family, file *content) (a *attempt, others []*attempt, err error) {
	for i, way := range ways {
		var fit candidates
		for _, f := range fs {
			if !f.could(file, i) {
				continue
			}
			t, err := f.template()
			if err != nil {
				return nil, nil, err
			}
			fit.add(t.try(file, way, nil), &f.outline)
		}
		if fit.best != nil {
			return fit.best, fit.others, nil
		}
	}
	return nil, nil, nil
}

// candidates are attempts without a problem, of which one is chosen: families
// that differ in their widths alone all fit a file of one of them. A net at a
// base of the family's comes first, then one that can have been cut from the
// family's own, then the others; of equals the first.
type candidates struct {
	best   *attempt
	others []*attempt
	rank   int
}

func (c *candidates) add(a *attempt, o *outline) {
	if a.problem() != nil {
		return
	}
	rank := 1
	switch {
	case a.net.Arch().Base != 0:
		rank = 3
	case a.within(o):
		rank = 2
	}
	if rank > c.rank {
		if c.best != nil {
			c.others = append(c.others, c.best)
		}
		c.best, c.rank = a, rank
		return
	}
	c.others = append(c.others, a)
}

// within reports whether no layer of an attempt but the last is wider than the
// family's own.
func (a *attempt) within(o *outline) bool {
	head := a.net.Head().Name + "."
	for i := range o.slots {
		if s := &o.slots[i]; len(s.shape) > 0 && a.shapes[i][0] > s.shape[0] && !strings.HasPrefix(s.name, head) {
			return false
		}
	}
	return true
}

// partOf looks for a net by names and structure in a group of tensors that may
// hold others, but no other kernels. It returns nil where there is no family
// that has as many, else the best attempt.
func partOf(fs []*family, c *content) *attempt {
	var fit candidates
	var best *attempt
	for _, f := range fs {
		if f.countKernels(c) != f.kernels || len(c.tensors) < f.least {
			continue
		}
		t, err := f.template()
		if err != nil {
			continue
		}
		a := t.lenient(c, ways[:byNames], nil)
		fit.add(a, &f.outline)
		best = a
	}
	if fit.best != nil {
		return fit.best
	}
	return best
}

// countKernels counts the kernels in a group of tensors, without those of
// auxiliary heads.
func (f *family) countKernels(c *content) int {
	n := 0
	for i := range c.tensors {
		if t := &c.tensors[i]; len(t.Shape) == 4 && t.Len() > 0 && !f.isBeside(t.Name) {
			n++
		}
	}
	return n
}

// isBeside reports whether a tensor of this name is one of an auxiliary head.
func (f *family) isBeside(name string) bool {
	return slices.ContainsFunc(f.beside, func(p string) bool { return strings.HasPrefix(name, p) })
}
