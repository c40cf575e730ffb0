package layers

import (
	"fmt"
	"slices"
)

// Branches returns the sums, by name, whose other inputs can go without the net
// becoming another in shape: an Add of two inputs of which one, the shortcut, is
// also what the other begins with. DropBranch takes these.
func (n *Net) Branches() (names []string) {
	for i := range n.Modules {
		if _, _, ok := n.branch(&n.Modules[i]); ok {
			names = append(names, n.Modules[i].Name)
		}
	}
	return names
}

// branch returns the shortcut that a sum reads, and the modules of the branch
// beside it, which nothing else reads.
func (n *Net) branch(sum *Module) (shortcut string, inside []string, ok bool) {
	if _, isAdd := sum.Kind.(Add); !isAdd || len(sum.In) != 2 {
		return "", nil, false
	}
	for k, from := range sum.In {
		if inside, ok := n.between(from, sum.In[1-k], sum.Name); ok && len(inside) > 0 {
			return from, inside, true
		}
	}
	return "", nil, false
}

// between returns the modules on all ways from one module to another, the other
// included, if every way begins there, and nothing but them and the sum reads them.
func (n *Net) between(from, to, sum string) ([]string, bool) {
	var inside []string
	for todo := []string{to}; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if name == from || slices.Contains(inside, name) {
			continue
		}
		m := n.Module(name)
		if m == nil || len(m.In) == 0 { // the image
			return nil, false
		}
		inside, todo = append(inside, name), append(todo, m.In...)
	}
	for i := range n.Modules {
		m := &n.Modules[i]
		if m.Name == sum || slices.Contains(inside, m.Name) {
			continue
		}
		if slices.ContainsFunc(m.In, func(in string) bool { return slices.Contains(inside, in) }) {
			return nil, false
		}
	}
	return inside, !slices.Contains(inside, n.Output)
}

// DropBranch returns the rewrite that takes out the branch beside the shortcut of a
// sum, x + f(x), so that x is left: whatever read the sum reads the shortcut. See
// Branches.
func DropBranch(sum string) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		m := n.Module(sum)
		if m == nil {
			return nil, nil, fmt.Errorf("%s: there is no module %s", n, sum)
		}
		shortcut, inside, ok := n.branch(m)
		if !ok || n.Output == sum {
			return nil, nil, fmt.Errorf("%s: %s is no sum with a shortcut and a branch that could go", n, sum)
		}
		out := n.clone()
		out.replace(sum, shortcut)
		gone := func(name string) bool { return name == sum || slices.Contains(inside, name) }
		out.Modules = slices.DeleteFunc(out.Modules, func(m Module) bool { return gone(m.Name) })
		out.StateOrder = slices.DeleteFunc(out.StateOrder, gone)
		return n.rewritten(out, s, func() (StateDict, error) { return out.sorted(s), nil })
	}
}
