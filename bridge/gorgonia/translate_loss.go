package bridge

import (
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
)

// A likelihood is factor·Σ target ⊙ log softmax(logits), summed over
// everything in the end.
type likelihood struct {
	logits, target *G.Node
	factor         float64
	steps          []*G.Node
}

// crossEntropy matches a scalar that is a multiple of Σ target ⊙ log softmax(z)
// over a matrix z [N,K], however Neg, Sum, Mean and constant factors are put
// together, and translates it to the engine's CrossEntropy:
// Σ_n Σ_k target·log softmax(z) = -N·CrossEntropy(z, target).
func (t *translator) crossEntropy(n *G.Node) (*engine.Value, bool, error) {
	l, ok := t.likelihood(n)
	if !ok || l.target == nil {
		return nil, false, nil
	}
	for x := range t.reach(l.target) {
		if t.moving[x] {
			return nil, false, refuse(n, "the target of the cross-entropy depends on %s, which a gradient is asked for: the engine gives targets none", describe(x))
		}
	}
	z, err := t.value(l.logits)
	if err != nil {
		return nil, false, err
	}
	q, err := t.value(l.target)
	if err != nil {
		return nil, false, err
	}
	for _, s := range l.steps {
		t.inside[s] = true
	}
	loss, err := t.one(n, engine.CrossEntropy{}, z, q)
	if err != nil {
		return nil, false, err
	}
	c := float32(-l.factor * float64(l.logits.Shape()[0]))
	if c != 1 {
		loss, err = t.one(n, engine.Add{Weights: []float32{c}}, loss)
	}
	return loss, true, err
}

// likelihood takes a product with a log softmax apart.
func (t *translator) likelihood(n *G.Node) (l likelihood, ok bool) {
	in := t.in[n]
	of := func(x *G.Node, c float64) (likelihood, bool) {
		l, ok := t.likelihood(x)
		l.factor *= c
		l.steps = append(l.steps, x)
		return l, ok
	}
	switch kind(n) {
	case "softmaxOp":
		f := fieldsOf(n.Op())
		axis, isLog := f.int("axis"), f.bool("isLog")
		if f.err != nil || !isLog || len(n.Shape()) != 2 || axis != -1 && axis != 1 {
			return l, false
		}
		return likelihood{logits: in[0], factor: 1}, true
	case "elemUnaryOp":
		if symbol(n) == "neg" {
			return of(in[0], -1)
		}
	case "sumOp":
		if l, ok = of(in[0], 1); ok && l.target == nil {
			return l, false // of log softmax alone
		}
		return l, ok
	case "elemBinOp":
		return t.likelihoodOf(n, of)
	}
	return l, false
}

func (t *translator) likelihoodOf(n *G.Node, of func(*G.Node, float64) (likelihood, bool)) (likelihood, bool) {
	a, b := t.in[n][0], t.in[n][1]
	switch symbol(n) {
	case "÷":
		if c, ok := t.constant(b); ok && c != 0 {
			return of(a, 1/c)
		}
	case "⊙":
		for _, p := range [2][2]*G.Node{{a, b}, {b, a}} {
			if c, ok := t.constant(p[0]); ok {
				return of(p[1], c)
			}
		}
		for _, p := range [2][2]*G.Node{{a, b}, {b, a}} {
			if l, ok := of(p[0], 1); ok && l.target == nil && p[1].Shape().Eq(l.logits.Shape()) {
				l.target = p[1]
				return l, true
			}
		}
	}
	return likelihood{}, false
}
