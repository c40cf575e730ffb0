package engine

import (
	"errors"
	"fmt"
)

// Grad builds the gradient of loss, a scalar, with respect to each of wrt. The
// gradient of a value that loss does not depend on is nil.
func Grad(g *Graph, loss *Value, wrt []*Value) ([]*Value, error) {
	if loss.Len() != 1 {
		return nil, fmt.Errorf("gradient of %v: %w: a scalar is needed", loss, ErrShape)
	}
	b := NewBuilder(g)
	t := tape{b: b, needs: make(map[*Value]bool), grads: make(map[*Value][]*Value)}
	for _, v := range wrt {
		t.needs[v] = true
	}
	nodes := g.nodes
	for _, n := range nodes {
		if _, stops := n.Op.(Detach); stops {
			continue
		}
		for _, v := range n.In {
			if t.needs[v] {
				for _, o := range n.Out {
					t.needs[o] = true
				}
				break
			}
		}
	}
	if t.needs[loss] {
		t.grads[loss] = []*Value{b.One(Fill{Value: 1, Shape: loss.Shape})}
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		if err := t.backward(nodes[i]); err != nil {
			return nil, err
		}
	}
	out := make([]*Value, len(wrt))
	for i, v := range wrt {
		out[i] = t.grad(v)
	}
	return out, b.Err()
}

// A tape holds the state of one reverse sweep.
type tape struct {
	b     *Builder
	needs map[*Value]bool     // values on a path from wrt
	grads map[*Value][]*Value // contributions, summed when they are asked for
}

// grad returns the sum of the contributions to v's gradient, nil if there are none.
func (t *tape) grad(v *Value) *Value {
	parts := t.grads[v]
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	sum := t.b.One(Add{}, parts...)
	t.grads[v] = []*Value{sum}
	return sum
}

func (t *tape) backward(n *Node) error {
	dOut := make([]*Value, len(n.Out))
	any := false
	for i, o := range n.Out {
		if t.needs[o] {
			dOut[i] = t.grad(o)
			any = any || dOut[i] != nil
		}
	}
	if !any {
		return nil
	}
	d, ok := n.Op.(Differentiable)
	if !ok {
		return fmt.Errorf("gradient of %s (%s): %w", OpName(n.Op), n.Scope, errors.New("the operator has none"))
	}
	restore := t.b.Scope(n.Scope)
	defer restore()
	dIn, err := d.Backward(t.b, n, dOut)
	if err == nil {
		err = t.b.Err()
	}
	if err != nil {
		return fmt.Errorf("gradient of %s (%s): %w", OpName(n.Op), n.Scope, err)
	}
	for i, v := range n.In {
		if i < len(dIn) && dIn[i] != nil && t.needs[v] {
			t.grads[v] = append(t.grads[v], dIn[i])
		}
	}
	return nil
}
