package engine

import "fmt"

// A Value is an edge of the graph: an input, a variable, or an output of a node.
type Value struct {
	Spec
	name     string
	node     *Node
	variable *Variable
	input    bool
}

// Node returns the node that produces v, nil for inputs and variables.
func (v *Value) Node() *Node { return v.node }

// Variable returns the variable that v stands for, nil for other values.
func (v *Value) Variable() *Variable { return v.variable }

// String returns the value's name, or that of its operator, and its spec.
func (v *Value) String() string {
	switch {
	case v == nil:
		return "nil"
	case v.name != "":
		return v.name + "(" + v.Spec.String() + ")"
	default:
		return OpName(v.node.Op) + "(" + v.Spec.String() + ")"
	}
}

// A Node applies an operator to values.
type Node struct {
	Op  Op
	In  []*Value
	Out []*Value
	// Scope says which layer the node was built for ("cnn.1.3"); it serves
	// error messages and the printed plan only.
	Scope string
}

// An Op is an operator: a typed struct with its settings. Infer checks the
// input specs and returns those of the outputs.
type Op interface {
	Infer(in []Spec) (out []Spec, err error)
}

// A Differentiable op knows its gradient. Backward builds, with b, the
// gradients of n's inputs from those of its outputs. An entry of dOut is nil
// where no gradient arrives; an entry of dIn is nil where none is defined.
type Differentiable interface {
	Op
	Backward(b *Builder, n *Node, dOut []*Value) (dIn []*Value, err error)
}

// An Updater is an op that overwrites some of its inputs: Alias returns the
// input that holds output i's memory, or -1. The input must be a variable, or
// an output that already aliases one.
type Updater interface {
	Op
	Alias(i int) int
}

// A Coster is an op whose arithmetic is worth counting: Cost returns its
// floating-point operations, a multiply-add counting as two.
type Coster interface {
	Op
	Cost(in, out []Spec) int64
}

// OpName returns the stem of an op's name, as in "Conv2D".
func OpName(op Op) string {
	s := fmt.Sprintf("%T", op)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' || s[i] == '*' {
			return s[i+1:]
		}
	}
	return s
}

// A Graph is an append-only list of nodes in execution order.
type Graph struct {
	nodes     []*Node
	inputs    []*Value
	variables map[*Variable]*Value
}

// NewGraph returns an empty graph.
func NewGraph() *Graph { return &Graph{variables: make(map[*Variable]*Value)} }

// Nodes returns the nodes in execution order. The slice must not be changed.
func (g *Graph) Nodes() []*Node { return g.nodes }

// Inputs returns the graph's inputs in the order of their making.
func (g *Graph) Inputs() []*Value { return g.inputs }

// Input returns the input of the given name, nil if there is none.
func (g *Graph) Input(name string) *Value {
	for _, v := range g.inputs {
		if v.name == name {
			return v
		}
	}
	return nil
}

// apply appends a node.
func (g *Graph) apply(scope string, op Op, in []*Value) (*Node, error) {
	specs := make([]Spec, len(in))
	for i, v := range in {
		if v == nil {
			return nil, fmt.Errorf("%s: input %d is nil", OpName(op), i)
		}
		specs[i] = v.Spec
	}
	out, err := op.Infer(specs)
	if err != nil {
		return nil, fmt.Errorf("%s%v: %w", OpName(op), specs, err)
	}
	n := &Node{Op: op, In: append([]*Value(nil), in...), Scope: scope}
	for _, s := range out {
		n.Out = append(n.Out, &Value{Spec: s, node: n})
	}
	g.nodes = append(g.nodes, n)
	return n, nil
}

// A Builder adds to a graph and keeps the first error, so that a net can be
// written down without a check after every layer. After an error its methods
// return placeholder values that must not be used for anything but further
// calls of the same builder; Err tells.
type Builder struct {
	g     *Graph
	scope string
	err   error
}

// NewBuilder returns a builder on g.
func NewBuilder(g *Graph) *Builder { return &Builder{g: g} }

// Graph returns the graph being built.
func (b *Builder) Graph() *Graph { return b.g }

// Err returns the first error met.
func (b *Builder) Err() error { return b.err }

// Fail records err, if it is the first.
func (b *Builder) Fail(err error) {
	if b.err == nil && err != nil {
		b.err = err
	}
}

// Scope names the layer that the following nodes belong to, and returns a
// function that restores the name before.
func (b *Builder) Scope(name string) func() {
	old := b.scope
	b.scope = name
	return func() { b.scope = old }
}

// Input declares a value that is bound at every run. No two inputs of a graph
// have one name.
func (b *Builder) Input(name string, s Spec) *Value {
	if s.Len() <= 0 {
		b.Fail(fmt.Errorf("input %s: %w: %v has no elements", name, ErrShape, s))
	}
	if b.g.Input(name) != nil {
		b.Fail(fmt.Errorf("input %s: the graph has an input of this name already", name))
	}
	v := &Value{Spec: s, name: name, input: true}
	b.g.inputs = append(b.g.inputs, v)
	return v
}

// Shared returns the input of the given name, and declares it at the first call.
// It is for what several parts of a graph read without knowing each other.
func (b *Builder) Shared(name string, s Spec) *Value {
	v := b.g.Input(name)
	if v == nil {
		return b.Input(name, s)
	}
	if !v.Equal(s) {
		b.Fail(fmt.Errorf("input %s: %w: it is %v here and %v there", name, ErrShape, v.Spec, s))
	}
	return v
}

// Variable returns the value that stands for v in this graph, the same at
// every call.
func (b *Builder) Variable(v *Variable) *Value {
	if val, ok := b.g.variables[v]; ok {
		return val
	}
	val := &Value{Spec: v.Spec, name: v.Name, variable: v}
	b.g.variables[v] = val
	return val
}

// Latest returns the value that holds what v is at the end of the graph as it
// stands: that of the last node that overwrites v, or that of [Builder.Variable].
func (b *Builder) Latest(v *Variable) *Value {
	if now := b.g.overwritten()[v]; now != nil {
		return now
	}
	return b.Variable(v)
}

// Overwrites reports whether a run of the graph changes v.
func (g *Graph) Overwrites(v *Variable) bool { return g.overwritten()[v] != nil }

// overwritten returns, for every variable that the graph overwrites, the value
// that holds its final content.
func (g *Graph) overwritten() map[*Variable]*Value {
	now := make(map[*Variable]*Value)
	owner := make(map[*Value]*Variable)
	for _, n := range g.nodes {
		u, ok := n.Op.(Updater)
		if !ok {
			continue
		}
		for i, o := range n.Out {
			k := u.Alias(i)
			if k < 0 || k >= len(n.In) {
				continue
			}
			v := n.In[k].variable
			if v == nil {
				v = owner[n.In[k]]
			}
			owner[o], now[v] = v, o
		}
	}
	return now
}

// Apply adds a node and returns its outputs.
func (b *Builder) Apply(op Op, in ...*Value) []*Value {
	if b.err == nil {
		n, err := b.g.apply(b.scope, op, in)
		if err == nil {
			return n.Out
		}
		if b.scope != "" {
			err = fmt.Errorf("%s: %w", b.scope, err)
		}
		b.err = err
	}
	return placeholders
}

// One adds a node and returns its first output.
func (b *Builder) One(op Op, in ...*Value) *Value { return b.Apply(op, in...)[0] }

// placeholders stands in for the outputs of a node that could not be made: as
// many as any op has, all the same scalar.
var placeholders = func() []*Value {
	out := make([]*Value, 16)
	for i := range out {
		out[i] = &Value{name: "invalid"}
	}
	return out
}()
