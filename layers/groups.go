package layers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A Group is a set of channels that are cut for the same reason: those that one
// module makes, with all that they are tied to. Its units are what can be cut
// or kept: unit u is one channel or several, all of which go or stay together.
// Units of a group are alike: they lie on the same axes and can change places.
// Where they are not, as where a split sends half of the channels of a module
// elsewhere, the module makes several groups.
type Group struct {
	// Name tells the groups of a net apart: Module, and for the second and later
	// groups of a module a number behind it, "conv1#2".
	Name string
	// Module is that which makes its first channels, Image for those of the image.
	Module string
	// Size is the number of units, Width that of the channels that a unit has
	// where it is made: more than one where channels are tied among themselves,
	// as by a grouped convolution.
	Size, Width int
	// Fixed says why nothing of it can be cut; "" if it can.
	Fixed string
	// Uses are the axes of tensors along which its channels lie, in the order
	// of execution.
	Uses []Use
	// Through are the modules whose outputs hold its channels, in the order of
	// execution.
	Through []string
}

// A Use is an axis of a tensor, in PyTorch's layout, on which channels of a
// group lie.
type Use struct {
	// Module and Role are those of the module that uses the tensor first.
	Module, Role string
	Tensor       string
	Axis         int
	// At gives for every index of the axis the group's unit that lies there, -1
	// for a channel of another group.
	At []int32
	// Lane gives for every index which of its unit's channels lies there, from 0
	// up to the group's Width. It is nil where units have one channel.
	Lane []int32
}

// Groups returns the channel groups of the net, in the order in which their
// first channels are made. Every channel of every tensor is in one of them.
func (n *Net) Groups() ([]Group, error) {
	g, err := n.groups()
	if err != nil {
		return nil, err
	}
	return g.groups, nil
}

// grouping is a net's groups, with the way back from channels to units.
type grouping struct {
	*Ties
	groups []Group
	// group and unit of every element; role tells the elements of a unit apart:
	// they are numbered in the order of their making.
	group, unit, role []int32
}

func (n *Net) groups() (*grouping, error) {
	t, err := n.ties()
	if err != nil {
		return nil, err
	}
	g := &grouping{Ties: t, group: make([]int32, len(t.parent)), unit: make([]int32, len(t.parent)), role: make([]int32, len(t.parent))}
	g.numberRoles()
	g.number(n, g.signatures(n))
	g.findThrough(n)
	if err := g.findUses(); err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	return g, nil
}

// numberRoles tells the elements that are one apart by the order of their making.
func (g *grouping) numberRoles() {
	met := make([]int32, len(g.parent)) // by root
	for e := range g.parent {
		r := g.root(Elem(e))
		g.role[e] = met[r]
		met[r]++
	}
}

// signatures returns, by root, a number that says on which values and axes its
// elements lie: FNV-1a, 64 bits, of the places and the roles there.
func (g *grouping) signatures(n *Net) []uint64 {
	sums := make([]uint64, len(g.parent))
	for i := range sums {
		sums[i] = 14695981039346656037
	}
	place := uint64(0)
	lie := func(at []Elem) {
		place++
		for _, e := range at {
			r := g.root(e)
			h := sums[r]
			for _, word := range [2]uint64{place, uint64(g.role[e])} {
				h = (h ^ word) * 1099511628211
			}
			sums[r] = h
		}
	}
	lie(g.values[Image])
	for i := range n.Modules {
		lie(g.values[n.Modules[i].Name])
	}
	for _, x := range g.axes {
		lie(x.at)
	}
	return sums
}

// number gives every element its group and its unit. Elements of one signature
// are a group: no two modules make such unless their channels are tied.
func (g *grouping) number(n *Net, signatures []uint64) {
	at := make(map[uint64]int32)          // the group of a signature
	of := make(map[int]int)               // groups of a module
	made := make(map[int32]int)           // the module of a group
	units := make([]int32, len(g.parent)) // of a root, counted from 1
	for e := range g.parent {
		r := g.root(Elem(e))
		i, ok := at[signatures[r]]
		if !ok {
			i = int32(len(g.groups))
			module := g.origin[e]
			at[signatures[r]], made[i] = i, module
			of[module]++
			name := Image
			if module >= 0 {
				name = n.Modules[module].Name
			}
			x := Group{Name: name, Module: name}
			if k := of[module]; k > 1 {
				x.Name = fmt.Sprintf("%s#%d", name, k)
			}
			g.groups = append(g.groups, x)
		}
		group := &g.groups[i]
		if units[r] == 0 {
			group.Size++
			units[r] = int32(group.Size)
		}
		u := units[r] - 1
		g.group[e], g.unit[e] = i, u
		if group.Fixed == "" {
			group.Fixed = g.fixed[Elem(e)]
		}
		if u == 0 && g.origin[e] == made[i] {
			group.Width++
		}
	}
}

// findThrough lists the modules that hold the channels of every group.
func (g *grouping) findThrough(n *Net) {
	last := make([]int, len(g.groups)) // the module that was listed last, counted from 1
	for i := range n.Modules {
		name := n.Modules[i].Name
		for _, e := range g.values[name] {
			if at := g.group[e]; last[at] != i+1 {
				last[at] = i + 1
				g.groups[at].Through = append(g.groups[at].Through, name)
			}
		}
	}
}

// maxUses is the most indices that the uses of all groups may list: 256 MiB. An
// axis is listed once for every group on it, so a net that takes every channel
// of a wide layer apart could ask for thousands of times its own size.
const maxUses = 1 << 26

// findUses lists the axes of every group.
func (g *grouping) findUses() error {
	total := 0
	for _, x := range g.axes {
		on := make(map[int32]*Use)
		for i, e := range x.at {
			group := g.group[e]
			u := on[group]
			if u == nil {
				if total += len(x.at); total > maxUses {
					return fmt.Errorf("%s: the channels of %s lie in too many groups of their own; slice fewer channels apart", x.module, x.tensor)
				}
				u = &Use{Module: x.module, Role: x.role, Tensor: x.tensor, Axis: x.axis, At: make([]int32, len(x.at))}
				for k := range u.At {
					u.At[k] = -1
				}
				on[group] = u
			}
			u.At[i] = g.unit[e]
			if width := g.groups[group].Width; width > 1 {
				if u.Lane == nil {
					u.Lane = make([]int32, len(x.at))
				}
				u.Lane[i] = g.role[e] % int32(width)
			}
		}
		for _, group := range slices.SortedFunc(maps.Keys(on), cmp.Compare[int32]) {
			g.groups[group].Uses = append(g.groups[group].Uses, *on[group])
		}
	}
	return nil
}
