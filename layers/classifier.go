package layers

import (
	"fmt"
	"slices"
)

// Classifier returns the modules that make the logits of the net's last feature map,
// in the order of execution: the last pool, or what flattens the map where there is none,
// and all that follows, at least the head. It also returns the name of the module whose
// output that map is. A feature map has more than one pixel on the images that the net takes, or
// on those of 224x224 pixels where it takes any.
//
// The classifier of a residual net, for example, is its average pool and its last
// linear layer. A net whose classifier is no chain of modules has none.
func (n *Net) Classifier() (features string, modules []Module, err error) {
	shapes, err := n.shapes()
	if err != nil {
		return "", nil, err
	}
	head, name := n.Head(), n.Output
	reached, pooled, headed := false, false, false
	for {
		m := n.Module(name)
		_, dropout := m.Kind.(Dropout)
		if reached && headed && !dropout && (pooled || !pools(m.Kind)) {
			break
		}
		if len(m.In) != 1 || m.In[0] == Image || len(n.readers(name)) > 1 {
			return "", nil, fmt.Errorf("%s: what makes its logits is no chain of modules behind a feature map: %s", n, m.Name)
		}
		modules = append(modules, *m)
		_, h, w, _, ok := shapes[m.In[0]].NHWC()
		reached = reached || ok && h*w > 1
		pooled = pooled || pools(m.Kind)
		headed = headed || m.Name == head.Name
		name = m.In[0]
	}
	slices.Reverse(modules)
	return name, modules, nil
}

// pools reports whether a kind is a pool.
func pools(k Kind) bool {
	switch k.(type) {
	case MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, AdaptiveMaxPool2d:
		return true
	}
	return false
}

// ReplaceClassifier returns the rewrite that puts other modules, in the order of execution, in
// the place of the net's classifier, see Net.Classifier. The last of them makes the logits, and
// they may read the feature map that the classifier read, by its module's name. Their tensors have
// those of the given values that are named like them, and start as in Model.Init, drawn from the
// seed, where there is none.
func ReplaceClassifier(modules []Module, values StateDict, seed uint64) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		_, old, err := n.Classifier()
		if err != nil {
			return nil, nil, err
		}
		out := n.clone()
		gone := func(name string) bool {
			return slices.ContainsFunc(old, func(m Module) bool { return m.Name == name })
		}
		out.Modules = slices.DeleteFunc(out.Modules, func(m Module) bool { return gone(m.Name) })
		kept := make(map[string]bool) // tensors
		for i := range out.Modules {
			m := &out.Modules[i]
			for _, p := range m.Params() {
				kept[m.Tensor(p.Role)] = true
			}
		}
		out.Modules = append(out.Modules, modules...)
		out.Output = modules[len(modules)-1].Name
		if out.StateOrder != nil {
			out.StateOrder = slices.DeleteFunc(out.StateOrder, gone)
			for i := range modules {
				out.StateOrder = append(out.StateOrder, modules[i].Name)
			}
		}
		return n.rewritten(out, s, func() (StateDict, error) {
			state, err := out.Start(seed)
			if err != nil {
				return nil, err
			}
			for i := range state {
				from := values
				if kept[state[i].Name] {
					from = s
				}
				if e := from.Find(state[i].Name); e != nil {
					state[i] = *e
				}
			}
			return state, out.CheckState(state)
		})
	}
}
