package identify

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// The markers that stand for sizes in a template. No two are equal, no other
// size of a net is as large, and widths are even for the families in groups.
const (
	markWidth    = 1 << 12 // of width i: markWidth + 2·i
	markClasses  = markWidth - 1
	markChannels = markWidth - 3
)

// A template is a family whose sizes are markers.
type template struct {
	family  string
	widths  int // how many
	slots   []slot
	modules []module // of indices into slots
}

// A slot is a tensor of a template.
type slot struct {
	name    string
	shape   []int // PyTorch's, with markers
	counter bool  // an int64, which the graph never touches
}

func newTemplate(family string) (*template, error) {
	m, err := layers.New(layers.Arch{Family: family, Classes: 1})
	if err != nil {
		return nil, err
	}
	a := layers.Arch{Family: family, Classes: markClasses, InChannels: markChannels, Widths: make([]int, len(m.Arch().Widths))}
	for i := range a.Widths {
		a.Widths[i] = markWidth + 2*i
	}
	if m, err = layers.New(a); err != nil {
		return nil, err
	}
	t := &template{family: family, widths: len(a.Widths)}
	var parts []part
	for i, s := range m.Slots() {
		sl := slot{name: s.Variable.Name, shape: s.Shape(), counter: s.Variable.DType == engine.Int64}
		t.slots = append(t.slots, sl)
		parts = append(parts, part{name: sl.name, shape: sl.shape, index: i})
	}
	t.modules = group(parts)
	return t, nil
}

// try gives the file's tensors places in one of the ways. What want leaves open
// follows from the shapes.
func (t *template) try(file *content, w way, want layers.Arch) *attempt {
	a := &attempt{t: t, places: make([]*named.Tensor, len(t.slots))}
	placed := make([]bool, len(file.tensors))
	for i, j := range w(t, file) {
		if j >= 0 {
			a.places[i], placed[j] = &file.tensors[j], true
		}
	}
	for j := range file.tensors {
		if !placed[j] {
			a.left = append(a.left, &file.tensors[j])
		}
	}
	a.measure(want)
	return a
}

// measure finds the sizes: each is what most of the tensors in its places say.
func (a *attempt) measure(want layers.Arch) {
	votes := make(map[int][]int)
	for i, s := range a.t.slots {
		t := a.places[i]
		if t == nil || len(t.Shape) != len(s.shape) || len(s.shape) == 0 {
			continue
		}
		votes[s.shape[0]] = append(votes[s.shape[0]], t.Shape[0])
		if len(s.shape) > 1 && s.shape[1] == markChannels {
			votes[markChannels] = append(votes[markChannels], t.Shape[1])
		}
	}
	a.sizes = make(map[int]int)
	for marker, ns := range votes {
		a.sizes[marker] = most(ns)
	}
	arch := layers.Arch{Family: a.t.family, Classes: a.sizes[markClasses], InChannels: a.sizes[markChannels]}
	for i := range a.t.widths {
		arch.Widths = append(arch.Widths, a.sizes[markWidth+2*i])
	}
	if want.Classes != 0 {
		arch.Classes = want.Classes
	}
	if want.InChannels != 0 {
		arch.InChannels = want.InChannels
	}
	if want.Widths != nil {
		arch.Widths = slices.Clone(want.Widths)
	}
	if i := slices.Index(arch.Widths, 0); i >= 0 || arch.Classes == 0 || arch.InChannels == 0 {
		a.archErr = fmt.Errorf("%s is missing", a.absent())
		return
	}
	m, err := layers.New(arch)
	if err != nil {
		a.archErr = err
		return
	}
	a.arch = m.Arch()
	for _, s := range m.Slots() {
		a.shapes = append(a.shapes, s.Shape())
	}
}

// absent names the first tensor that the file lacks.
func (a *attempt) absent() string {
	for i, s := range a.t.slots {
		if a.places[i] == nil && !s.counter {
			return s.name
		}
	}
	return a.t.slots[0].name + " of a fitting rank"
}

// most returns the most frequent number, the earliest of several, 0 for none.
func most(ns []int) int {
	count := make(map[int]int)
	for _, n := range ns {
		count[n]++
	}
	best := 0
	for _, n := range ns {
		if best == 0 || count[n] > count[best] {
			best = n
		}
	}
	return best
}
