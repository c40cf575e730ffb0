package identify

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// A template is a net whose sizes are not known: those of its channel groups.
type template struct {
	outline
	net    *layers.Net
	groups []layers.Group
}

// A slot is a tensor of a template.
type slot struct {
	name    string
	shape   []int // PyTorch's, in the net as it was built
	counter bool  // an int64, which the graph never touches
	// axes says for each axis which groups make up its length; none where it is
	// as it is in shape.
	axes [][]share
}

// A share is a group's part in the length of an axis: so many indices a unit.
type share struct{ group, times int }

// newTemplate looks at a net.
func newTemplate(n *layers.Net) (*template, error) {
	m, err := n.Model()
	if err != nil {
		return nil, err
	}
	t := &template{net: n}
	if t.groups, err = n.Groups(); err != nil {
		return nil, err
	}
	at := make(map[string]int)
	for i, s := range m.Slots() {
		sl := slot{name: s.Variable.Name, shape: s.Shape(), counter: s.Variable.DType == engine.Int64}
		sl.axes = make([][]share, len(sl.shape))
		at[sl.name] = i
		t.slots = append(t.slots, sl)
	}
	t.measure()
	for g, group := range t.groups {
		for _, u := range group.Uses {
			on := 0
			for _, unit := range u.At {
				if unit >= 0 {
					on++
				}
			}
			axes := t.slots[at[u.Tensor]].axes
			axes[u.Axis] = append(axes[u.Axis], share{g, on / group.Size})
		}
	}
	return t, nil
}

// length returns that of an axis of a slot, with groups of the given sizes.
func (s *slot) length(axis int, sizes []int) int {
	if len(s.axes[axis]) == 0 {
		return s.shape[axis]
	}
	n := 0
	for _, x := range s.axes[axis] {
		n += x.times * sizes[x.group]
	}
	return n
}

// try gives the file's tensors places in one of the ways. The sizes that want
// does not give, by the groups' names, follow from the shapes.
func (t *template) try(file *content, w way, want map[string]int) *attempt {
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
	if a.measureWidths(want); a.netErr != nil || a.problem() != nil {
		a.measureGroups(want)
	}
	return a
}

// measureWidths finds the net among those of the template's family, at another
// base or of other widths: by the output channels of its layers. Nets at another
// base may have residual connections that the template has not.
func (a *attempt) measureWidths(want map[string]int) {
	channels := make(map[string]int)
	image, classes := 0, 0
	head := a.t.net.Head()
	for i, s := range a.t.slots {
		t := a.places[i]
		module, ok := strings.CutSuffix(s.name, ".weight")
		if t == nil || !ok || len(t.Shape) < 2 || len(t.Shape) != len(s.shape) {
			continue
		}
		channels[module] = t.Shape[0]
		if image == 0 {
			image = t.Shape[1] // of the first convolution, which reads the image
		}
		if module == head.Name {
			classes = t.Shape[0]
		}
	}
	known := func(module string) int { return channels[module] }
	arch := layers.Arch{
		Family: a.t.net.Family, InChannels: cmp.Or(want[layers.Image], image), Classes: cmp.Or(want[head.Name], classes),
		Widths: layers.FamilyWidths(a.t.net.Family, known), Base: layers.FamilyBase(a.t.net.Family, known),
	}
	if arch.Widths == nil && arch.Base == 0 || len(want) > 2 {
		a.netErr = errNoFamily
		return
	}
	n, err := arch.Net()
	if err != nil {
		a.netErr = err
		return
	}
	m, err := n.Model()
	if err != nil {
		a.netErr = err
		return
	}
	a.net, a.shapes = n, nil
	for _, s := range m.Slots() {
		a.shapes = append(a.shapes, s.Shape())
	}
}

// errNoFamily says that a net is not to be looked for among those of a family.
var errNoFamily = errors.New("no family")

// measureGroups finds the sizes of the groups: each is what most of the tensors in
// its places say, or, for one that is alone on no axis, what is left for it of
// those that it shares.
func (a *attempt) measureGroups(want map[string]int) {
	a.net, a.netErr, a.shapes = nil, nil, nil
	votes := make([][]vote, len(a.t.groups))
	var sums []equation
	for i, s := range a.t.slots {
		t := a.places[i]
		if t == nil || len(t.Shape) != len(s.shape) {
			continue
		}
		for axis, shares := range s.axes {
			if len(shares) == 1 {
				g, times := shares[0].group, shares[0].times
				votes[g] = append(votes[g], vote{t.Shape[axis] / times, t.Shape[axis] % times})
			} else if len(shares) > 1 {
				sums = append(sums, equation{shares, t.Shape[axis]})
			}
		}
	}
	a.sizes = make([]int, len(votes))
	sizes := make(map[string]int)
	var odd error
	for g, vs := range votes {
		name := a.t.groups[g].Name
		v := most(vs)
		a.sizes[g] = cmp.Or(want[name], v.size)
		sizes[name] = a.sizes[g]
		if v.rest != 0 && odd == nil {
			w := a.t.groups[g].Width
			odd = fmt.Errorf("%d channels of %s do not divide into %d groups", v.size*w+v.rest, name, w)
		}
	}
	if a.netErr = odd; odd != nil {
		return
	}
	if slices.Contains(a.sizes, 0) && len(sums) > 0 {
		solve(a.sizes, sums)
		for g, size := range a.sizes {
			// What the shapes leave open was not cut, or they contradict it below.
			a.sizes[g] = cmp.Or(size, a.t.groups[g].Size)
			sizes[a.t.groups[g].Name] = a.sizes[g]
		}
	}
	if slices.Contains(a.sizes, 0) {
		a.netErr = fmt.Errorf("%s is missing", a.absent())
		return
	}
	if a.net, a.netErr = a.t.net.Resized(sizes); a.netErr != nil {
		return
	}
	for i := range a.t.slots {
		s := &a.t.slots[i]
		shape := make([]int, len(s.shape))
		for axis := range shape {
			shape[axis] = s.length(axis, a.sizes)
		}
		a.shapes = append(a.shapes, shape)
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

// A vote is the size that an axis says a group has, and the channels that are
// too many for it.
type vote struct{ size, rest int }

// most returns the most frequent vote, the earliest of several, zeros for none.
func most(vs []vote) vote {
	count := make(map[vote]int)
	for _, v := range vs {
		count[v]++
	}
	var best vote
	for _, v := range vs {
		if count[v] > count[best] {
			best = v
		}
	}
	return best
}
