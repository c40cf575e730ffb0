package layers

import (
	"cmp"
	"maps"
	"slices"
)

// A Group is a set of channels that are cut for the same reason: those that one
// module makes, with all that they are tied to. Its units are what can be cut
// or kept: unit u is one channel or several, all of which go or stay together.
type Group struct {
	// Name is that of the module that makes its first channels, Image for those
	// of the image.
	Name string
	// Size is the number of units, Width that of the channels that a unit has
	// where it is made: more than one where channels are tied among themselves,
	// as by a grouped convolution.
	Size, Width int
	// Fixed says why nothing of it can be cut; "" if it can.
	Fixed string
	// Uses are the axes of tensors along which its channels lie, in the order
	// of execution.
	Uses []Use
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
	g.number(n)
	g.findUses()
	return g, nil
}

// number gives every element its group, its unit and its role. Modules whose
// channels are tied to one another make one group.
func (g *grouping) number(n *Net) {
	parent := make(map[int]int) // of modules
	var find func(i int) int
	find = func(i int) int {
		p, ok := parent[i]
		if !ok || p == i {
			return i
		}
		p = find(p)
		parent[i] = p
		return p
	}
	for e := range g.parent {
		a, b := find(g.origin[e]), find(g.origin[g.root(Elem(e))])
		parent[max(a, b)] = min(a, b)
	}
	at := make(map[int]int32)     // the group of a module
	units := make(map[Elem]int32) // the unit of a root
	roles := make(map[Elem]int32) // the elements of a root so far
	for e := range g.parent {
		made := find(g.origin[e])
		i, ok := at[made]
		if !ok {
			i = int32(len(g.groups))
			at[made] = i
			name := Image
			if made >= 0 {
				name = n.Modules[made].Name
			}
			g.groups = append(g.groups, Group{Name: name})
		}
		group := &g.groups[i]
		r := g.root(Elem(e))
		u, ok := units[r]
		if !ok {
			u = int32(group.Size)
			units[r] = u
			group.Size++
		}
		g.group[e], g.unit[e], g.role[e] = i, u, roles[r]
		roles[r]++
		if group.Fixed == "" {
			group.Fixed = g.fixed[Elem(e)]
		}
		if u == 0 && g.origin[e] == made {
			group.Width++
		}
	}
}

// findUses lists the axes of every group.
func (g *grouping) findUses() {
	for _, x := range g.axes {
		on := make(map[int32]*Use)
		for i, e := range x.at {
			group := g.group[e]
			u := on[group]
			if u == nil {
				u = &Use{Module: x.module, Role: x.role, Tensor: x.tensor, Axis: x.axis, At: make([]int32, len(x.at))}
				for k := range u.At {
					u.At[k] = -1
				}
				on[group] = u
			}
			u.At[i] = g.unit[e]
		}
		for _, group := range slices.SortedFunc(maps.Keys(on), cmp.Compare[int32]) {
			g.groups[group].Uses = append(g.groups[group].Uses, *on[group])
		}
	}
}
