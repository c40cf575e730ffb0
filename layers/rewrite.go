package layers

import (
	"fmt"
	"slices"
)

// A Rewrite turns a net and its values into another net and its values, and
// leaves both as they are. The state may be nil: then the net alone is
// rewritten, and the state that is returned is nil too.
type Rewrite func(*Net, StateDict) (*Net, StateDict, error)

// rewritten ends a rewrite of n and its state s: it checks the net that was made, and s,
// and returns the net with the state that values returns, or with none if s is nil.
func (n *Net) rewritten(made *Net, s StateDict, values func() (StateDict, error)) (*Net, StateDict, error) {
	if err := made.Validate(); err != nil {
		return nil, nil, err
	}
	if s == nil {
		return made, nil, nil
	}
	if err := n.CheckState(s); err != nil {
		return nil, nil, err
	}
	state, err := values()
	if err != nil {
		return nil, nil, err
	}
	return made, state, nil
}

// ReplaceHead returns the rewrite that gives the net another number of classes:
// the last layer, see Net.Head, gets a new weight and bias, which start as they
// do in Model.Init, drawn from the seed. Everything else stays.
func ReplaceHead(classes int, seed uint64) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		if classes < 1 || classes > maxClasses {
			return nil, nil, fmt.Errorf("%s: %d classes; give a number from 1 to %d", n, classes, maxClasses)
		}
		g, err := n.groups()
		if err != nil {
			return nil, nil, err
		}
		logits := g.values[n.Output]
		group := &g.groups[g.group[logits[0]]]
		head := n.Head()
		if head == nil || group.Name != head.Name || len(group.Uses) == 0 || group.Size != len(logits) {
			return nil, nil, fmt.Errorf("%s: the classes do not come from one layer, and cannot be replaced", n)
		}
		out, err := n.Resized(map[string]int{group.Name: classes})
		if err != nil {
			return nil, nil, err
		}
		return n.rewritten(out, s, func() (StateDict, error) {
			ts, err := out.params()
			if err != nil {
				return nil, err
			}
			state := slices.Clone(s)
			for _, t := range ts {
				if m := out.Module(head.Name); slices.ContainsFunc(m.Params(), func(p Param) bool { return m.Tensor(p.Role) == t.name }) {
					*state.Find(t.name) = t.start(seed)
				}
			}
			return state, nil
		})
	}
}
