package layers

import (
	"fmt"
	"slices"
)

// A Step is a module of a chain that stands in place of another.
type Step struct {
	Kind Kind
	// Tensors are the values of the kind's parameters, by their roles. They may be
	// nil where the net alone is rewritten.
	Tensors map[string][]float32
}

// InPlaceOf returns the rewrite that puts chains of modules in place of others, by
// their names: the first reads what the module has read, and whatever read the
// module reads the last. The modules of the chain of M are named M.0, M.1, and so
// on, as PyTorch's nn.Sequential has them. A module whose tensors others share
// cannot be replaced.
func InPlaceOf(chains map[string][]Step) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		out, state := n.clone(), slices.Clone(s)
		found := 0
		for i := 0; i < len(out.Modules); i++ {
			old := out.Modules[i]
			chain := chains[old.Name]
			if len(chain) == 0 {
				continue
			}
			found++
			if len(old.In) != 1 || n.shares(&old) {
				return nil, nil, fmt.Errorf("%s: %s reads several modules or shares its tensors, and cannot be replaced", n, old.Name)
			}
			var made []Module
			from := old.In[0]
			for k, step := range chain {
				m := Module{Name: fmt.Sprintf("%s.%d", old.Name, k), In: []string{from}, Kind: step.Kind}
				if n.Module(m.Name) != nil {
					return nil, nil, fmt.Errorf("%s: there is a module %s already", n, m.Name)
				}
				if s != nil {
					entries, err := step.entries(&m)
					if err != nil {
						return nil, nil, fmt.Errorf("%s: %w", n, err)
					}
					state = append(state, entries...)
				}
				made, from = append(made, m), m.Name
			}
			state = slices.DeleteFunc(state, func(e Entry) bool {
				return slices.ContainsFunc(old.Params(), func(p Param) bool { return old.Tensor(p.Role) == e.Name })
			})
			out.replace(old.Name, from)
			out.Modules = slices.Replace(out.Modules, i, i+1, made...)
			if k := slices.Index(out.StateOrder, old.Name); k >= 0 {
				var names []string
				for _, m := range made {
					names = append(names, m.Name)
				}
				out.StateOrder = slices.Replace(out.StateOrder, k, k+1, names...)
			}
			i += len(made) - 1
		}
		if found != len(chains) {
			return nil, nil, fmt.Errorf("%s: %d of the %d modules that were to be replaced are not there", n, len(chains)-found, len(chains))
		}
		if err := out.Validate(); err != nil {
			return nil, nil, err
		}
		return out, out.sorted(state), nil
	}
}

// entries returns the tensors of a step for its module.
func (x *Step) entries(m *Module) ([]Entry, error) {
	var list []Entry
	for _, p := range m.Params() {
		shape := p.Layout.Torch(p.Spec.Shape)
		data := x.Tensors[p.Role]
		if len(data) != p.Spec.Len() {
			return nil, fmt.Errorf("%s: %d values for %s %v", m.Name, len(data), p.Role, shape)
		}
		list = append(list, Entry{Name: m.Tensor(p.Role), Shape: shape, Data: slices.Clone(data)})
	}
	return list, nil
}
