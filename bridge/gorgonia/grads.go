package bridge

import (
	G "gorgonia.org/gorgonia"
)

// A request is what gradients a compilation is asked for.
type request struct {
	loss *G.Node
	wrt  []*G.Node // inputs
	// sources are the nodes whose derivative is an output: node by output.
	sources map[*G.Node]*G.Node
}

// requested finds out what gorgonia.Grad was called for on the graph, or takes
// it from the options.
func (v *view) requested(o Options, outputs []*G.Node) (request, error) {
	r := request{sources: make(map[*G.Node]*G.Node)}
	var err error
	if o.Loss != nil {
		r.loss, r.wrt = o.Loss, o.WithRespectTo
		for _, n := range r.wrt {
			if n == nil || n.Op() != nil {
				return r, refuse(n, "gradients are taken with respect to inputs")
			}
		}
	} else if r.loss, r.wrt, err = v.differentiated(); err != nil {
		return r, err
	}
	for _, n := range outputs {
		if of := n.DerivOf(); len(of) > 0 && kind(n) != "" {
			if r.loss == nil || of[0].Deriv() != n || !v.reach(r.loss)[of[0]] {
				return r, refuse(n, "it is a derivative, but not of a node that the loss is computed from")
			}
			r.sources[n] = of[0]
		}
	}
	return r, nil
}

// differentiated returns the loss that gorgonia.Grad was called for and the
// inputs that it was called with respect to; nil where it was not called.
//
// Grad leaves a derivative on every node between them, and the constant one on
// the loss, which is the first that it does. A second call skips nodes that
// have one and so returns the first loss's gradients for the second: that is
// told by derivatives on nodes that the first loss is not computed from.
func (v *view) differentiated() (loss *G.Node, wrt []*G.Node, err error) {
	var all []*G.Node
	for _, n := range v.nodes {
		if n.Deriv() != nil {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	for _, n := range all {
		d := n.Deriv()
		if one, ok := v.constant(d); !ok || kind(d) != "constantScalar" || one != 1 || len(n.Shape()) != 0 {
			continue
		}
		if of := d.DerivOf(); len(of) > 0 && loss == nil {
			loss = of[0]
		}
	}
	if loss == nil {
		return nil, nil, refuse(all[0], "it has a derivative, but no loss is marked with the derivative 1: call gorgonia.Grad once, for one scalar loss")
	}
	below := v.reach(loss)
	for _, n := range all {
		if !below[n] {
			return nil, nil, refuse(n, "gorgonia.Grad was called for this node and for %s: a second call on a graph returns the first's gradients; call it once, or not at all and set Loss", describe(loss))
		}
		if n.Op() == nil {
			wrt = append(wrt, n)
		}
	}
	return loss, wrt, nil
}
