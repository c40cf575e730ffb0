package bridge

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	_ "go4.org/unsafe/assume-no-moving-gc" // a version that lets Gorgonia start under this Go
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Options say how a graph is compiled. The zero value compiles for the CPU.
type Options struct {
	// Backend runs the program; it is not closed with it. Nil means a CPU
	// backend of the program's own, on all threads.
	Backend engine.Backend
	// Store holds the parameters and running statistics; it must belong to the
	// backend, and is not closed with the program. Nil means one of its own.
	Store *engine.Store
	// Loss and WithRespectTo ask for the gradient of a scalar with respect to
	// inputs without a call of gorgonia.Grad, whose derivative nodes are not
	// used anyway. With a nil Loss the program has the gradients that
	// gorgonia.Grad was called for.
	Loss          *G.Node
	WithRespectTo G.Nodes
	// Unused lets inputs pass that nothing is computed from.
	Unused bool
	// NoFuse leaves the operators unfused, as engine.Options.NoFuse does.
	NoFuse bool
}

// Compile is Options{}.Compile: the program runs on the CPU.
func Compile(g *G.ExprGraph, outputs ...*G.Node) (*Program, error) {
	return Options{}.Compile(g, outputs...)
}

// Compile translates what outputs and the requested gradients are computed from
// into a Program. Outputs are nodes of g: values, which may end in SoftMax or
// LogSoftMax, and derivatives that gorgonia.Grad returned.
//
// What cannot be translated is refused with an *UnsupportedError that names the
// node; a graph whose nodes may not be what they were built as, with an
// *IdentityError.
func (o Options) Compile(g *G.ExprGraph, outputs ...*G.Node) (*Program, error) {
	if g == nil || len(outputs) == 0 {
		return nil, errors.New("compiling a Gorgonia graph: no graph or no outputs given")
	}
	v, err := inspect(g)
	if err != nil {
		return nil, fmt.Errorf("compiling a Gorgonia graph: %w", err)
	}
	plan, err := o.plan(v, g, outputs)
	if err != nil {
		return nil, fmt.Errorf("compiling a Gorgonia graph: %w", err)
	}
	p, err := o.program(plan)
	if err != nil {
		return nil, fmt.Errorf("compiling a Gorgonia graph: %w", err)
	}
	return p, nil
}

// A plan is a translated graph.
type plan struct {
	graph   *engine.Graph
	t       *translator
	outputs []*output
	grads   []*output
}

func (o Options) plan(v *view, g *G.ExprGraph, outputs []*G.Node) (*plan, error) {
	seen := make(map[*G.Node]bool)
	known := make(map[*G.Node]bool, len(v.nodes))
	for _, n := range v.nodes {
		known[n] = true
	}
	for _, n := range append(append(G.Nodes{}, outputs...), o.WithRespectTo...) {
		if n == nil || !known[n] {
			return nil, fmt.Errorf("output or input %s is not in the graph", describe(n))
		}
	}
	for _, n := range outputs {
		if seen[n] {
			return nil, merged(n, "two outputs are this one node: Gorgonia has taken two nodes for one, or it was given twice")
		}
		seen[n] = true
	}
	if o.Loss != nil && !known[o.Loss] {
		return nil, fmt.Errorf("the loss %s is not in the graph", describe(o.Loss))
	}
	if err := v.audit(g, append(outputs, o.WithRespectTo...), o.Unused); err != nil {
		return nil, err
	}
	r, err := v.requested(o, outputs)
	if err != nil {
		return nil, err
	}
	p := &plan{graph: engine.NewGraph()}
	p.t = newTranslator(v, p.graph)
	return p, p.translate(r, outputs)
}

// translate builds the forward graph and its gradient.
func (p *plan) translate(r request, outputs []*G.Node) error {
	t := p.t
	var roots []*G.Node
	if r.loss != nil {
		roots = append(roots, r.loss)
	}
	for _, n := range outputs {
		if r.sources[n] == nil {
			roots = append(roots, n)
		}
	}
	for n := range t.reach(roots...) {
		if err := t.verify(n); err != nil {
			return err
		}
	}
	for _, n := range r.wrt {
		t.moving[n] = true
	}
	for _, n := range r.sources {
		t.moving[n] = true
	}
	var loss *engine.Value
	if r.loss != nil {
		if len(r.loss.Shape()) != 0 {
			return refuse(r.loss, "gradients are taken of a scalar")
		}
		var err error
		if loss, err = t.value(r.loss); err != nil {
			return err
		}
	}
	for _, n := range outputs {
		if r.sources[n] != nil {
			continue
		}
		out, err := t.output(n)
		if err != nil {
			return err
		}
		p.outputs = append(p.outputs, out)
	}
	return p.differentiate(r, loss, outputs)
}

// output translates a node that is to be read. A softmax that ends the graph is
// taken on the host.
func (t *translator) output(n *G.Node) (*output, error) {
	o := &output{node: n, layout: usual(n.Shape())}
	var err error
	if kind(n) == "softmaxOp" && t.memo[n] == nil {
		f := fieldsOf(n.Op())
		axis, isLog := f.int("axis"), f.bool("isLog")
		switch {
		case f.err != nil:
			return nil, f.err
		case len(n.Shape()) != 2 || axis != -1 && axis != 1:
			return nil, refuse(n, "softmax is taken of the rows of a matrix [N,K]")
		}
		o.softmax, o.log = true, isLog
		o.value, err = t.value(t.in[n][0])
	} else {
		o.value, err = t.value(n)
	}
	return o, err
}

// differentiate adds the engine's gradient: of the inputs that it is asked for,
// and of the nodes whose derivative is an output.
func (p *plan) differentiate(r request, loss *engine.Value, outputs []*G.Node) error {
	if loss == nil {
		return nil
	}
	t := p.t
	var values []*engine.Value
	for _, n := range r.wrt {
		f, ok := t.leaves[n]
		if !ok {
			return refuse(n, "the loss is not computed from it")
		}
		p.grads = append(p.grads, &output{node: n, layout: f.layout})
		values = append(values, f.value)
	}
	for _, n := range outputs {
		of := r.sources[n]
		if of == nil {
			continue
		}
		out := &output{node: n, layout: usual(of.Shape())}
		if f, ok := t.leaves[of]; ok {
			out.layout = f.layout
		} else if t.memo[of] == nil || t.inside[of] {
			return refuse(n, "it is the derivative of node %s, which is a step inside one operator of the engine", describe(of))
		}
		p.outputs = append(p.outputs, out)
		if f, ok := t.leaves[of]; ok {
			values = append(values, f.value)
		} else {
			values = append(values, t.memo[of])
		}
	}
	grads, err := engine.Grad(p.graph, loss, values)
	if err != nil {
		return err
	}
	fill := func(o *output, i int) error {
		if grads[i] == nil {
			return refuse(o.node, "no gradient reaches it")
		}
		o.value = grads[i]
		return nil
	}
	i := 0
	for _, o := range append(append([]*output{}, p.grads...), p.outputs...) {
		if o.value != nil {
			continue
		}
		if err := fill(o, i); err != nil {
			return err
		}
		i++
	}
	return nil
}

// program compiles the plan.
func (o Options) program(p *plan) (*Program, error) {
	prog := &Program{leaves: p.t.order, norms: p.t.norms, modes: p.t.modes, outputs: p.outputs, grads: p.grads,
		backend: o.Backend, store: o.Store, bindings: make(engine.Bindings)}
	if prog.backend == nil {
		b, err := cpu.New(cpu.Options{})
		if err != nil {
			return nil, err
		}
		prog.backend = b
		prog.own = append(prog.own, b.Close)
	}
	if prog.store == nil {
		prog.store = engine.NewStore(prog.backend)
		prog.own = append(prog.own, prog.store.Close)
	}
	var values []*engine.Value
	for _, out := range append(append([]*output{}, p.outputs...), p.grads...) {
		s := out.node.Shape()
		out.raw, out.data = make([]float32, out.value.Len()), make([]float32, out.value.Len())
		if len(s) > 0 {
			out.dense = tensor.New(tensor.WithShape(s...), tensor.WithBacking(out.data))
		}
		values = append(values, out.value)
	}
	for _, f := range p.t.order {
		if f.variable == nil {
			prog.bindings[f.value] = engine.Bytes(f.staged)
		}
	}
	var err error
	prog.p, err = p.graph.Compile(prog.backend, engine.Options{Store: prog.store, Outputs: values, NoFuse: o.NoFuse})
	if err != nil {
		return nil, errors.Join(err, prog.Close())
	}
	return prog, nil
}
