package bridge

import (
	"fmt"
	"reflect"
	"strings"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Gorgonia exports neither a node's inputs in a form that can be relied on
// (ExprGraph.From finds the node by an index that goes stale when nodes are
// removed) nor the settings of its operators. Both are read by reflection
// here, reading only, and with the version that was read written down: a field
// that is not there is an error, not a zero.

// fieldVersion is the Gorgonia whose private fields this package reads.
const fieldVersion = "v0.9.18"

// A view is a graph as its nodes' own pointers tell it.
type view struct {
	nodes []*G.Node
	in    map[*G.Node][]*G.Node
	users map[*G.Node]int // how many operands of other nodes the node is
}

// inspect reads the inputs of every node of g.
func inspect(g *G.ExprGraph) (*view, error) {
	v := &view{nodes: g.AllNodes(), in: make(map[*G.Node][]*G.Node), users: make(map[*G.Node]int)}
	at := make(map[uintptr]*G.Node, len(v.nodes))
	for _, n := range v.nodes {
		at[reflect.ValueOf(n).Pointer()] = n
	}
	for _, n := range v.nodes {
		children := reflect.ValueOf(n).Elem().FieldByName("children")
		if !children.IsValid() || children.Kind() != reflect.Slice {
			return nil, fmt.Errorf("gorgonia's Node has no children: this bridge is written for gorgonia %s", fieldVersion)
		}
		for i := range children.Len() {
			c, ok := at[children.Index(i).Pointer()]
			if !ok {
				return nil, merged(n, "its input %d is no longer in the graph; build the graph again", i)
			}
			v.in[n] = append(v.in[n], c)
			v.users[c]++
		}
	}
	return v, nil
}

// reach returns the nodes that roots are computed from, themselves included.
func (v *view) reach(roots ...*G.Node) map[*G.Node]bool {
	seen := make(map[*G.Node]bool)
	var walk func(n *G.Node)
	walk = func(n *G.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, c := range v.in[n] {
			walk(c)
		}
	}
	for _, r := range roots {
		walk(r)
	}
	return seen
}

// kind returns the type of a node's operator without package and star, "" for
// an input.
func kind(n *G.Node) string {
	if n.Op() == nil {
		return ""
	}
	s := fmt.Sprintf("%T", n.Op())
	return s[strings.LastIndexByte(s, '.')+1:]
}

// opName is kind for people.
func opName(n *G.Node) string {
	if n == nil || n.Op() == nil {
		return "input"
	}
	return fmt.Sprintf("%s (%v)", kind(n), n.Op())
}

// givenName returns the name that the node was given, "" if none.
func givenName(n *G.Node) string {
	if f := reflect.ValueOf(n).Elem().FieldByName("name"); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// describe names a node in an error.
func describe(n *G.Node) string {
	switch {
	case n == nil:
		return "nil"
	case givenName(n) != "":
		return fmt.Sprintf("%q %v", givenName(n), n.Shape())
	case n.Op() == nil:
		return fmt.Sprintf("without a name %v", n.Shape())
	default:
		return fmt.Sprintf("%q %v", n.Name(), n.Shape())
	}
}

// fields reads the private settings of an operator; the first that is missing
// is kept in err.
type fields struct {
	v   reflect.Value
	op  G.Op
	err error
}

func fieldsOf(op G.Op) *fields {
	v := reflect.ValueOf(op)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return &fields{v: v, op: op}
}

func (f *fields) field(name string, kinds ...reflect.Kind) (reflect.Value, bool) {
	var v reflect.Value
	if f.v.Kind() == reflect.Struct {
		v = f.v.FieldByName(name)
	}
	if v.IsValid() {
		for _, k := range kinds {
			if v.Kind() == k {
				return v, true
			}
		}
	}
	if f.err == nil {
		f.err = fmt.Errorf("gorgonia's %T has no field %s of the type expected: this bridge is written for gorgonia %s", f.op, name, fieldVersion)
	}
	return reflect.Value{}, false
}

func (f *fields) int(name string) int {
	if v, ok := f.field(name, reflect.Int); ok {
		return int(v.Int())
	}
	return 0
}

func (f *fields) ints(name string) (all []int) {
	if v, ok := f.field(name, reflect.Slice); ok {
		for i := range v.Len() {
			all = append(all, int(v.Index(i).Int()))
		}
	}
	return all
}

func (f *fields) bool(name string) bool {
	if v, ok := f.field(name, reflect.Bool); ok {
		return v.Bool()
	}
	return false
}

func (f *fields) float(name string) float64 {
	if v, ok := f.field(name, reflect.Float64); ok {
		return v.Float()
	}
	return 0
}

// symbol returns the sign by which an element-wise or matrix operator prints:
// "+", "-", "⊙", "÷", ">=", …, "neg", "ln".
func symbol(n *G.Node) string {
	s, _, _ := strings.Cut(fmt.Sprint(n.Op()), " ")
	return s
}

// constant returns the value of a scalar that does not depend on any input:
// constants, sizes of axes, and products and quotients of these.
func (v *view) constant(n *G.Node) (float64, bool) {
	in := v.in[n]
	switch kind(n) {
	case "constantScalar":
		if f, ok := n.Value().(*G.F32); ok {
			return float64(*f), true
		}
	case "sizeOp":
		f := fieldsOf(n.Op())
		if axis := f.int("axis"); f.err == nil && len(in) == 1 && axis < in[0].Dims() {
			return float64(in[0].Shape()[axis]), true
		}
	case "elemBinOp":
		if len(in) != 2 {
			return 0, false
		}
		a, ok := v.constant(in[0])
		b, ok2 := v.constant(in[1])
		if !ok || !ok2 {
			return 0, false
		}
		switch symbol(n) {
		case "⊙":
			return a * b, true
		case "÷":
			return a / b, b != 0
		}
	case "elemUnaryOp":
		if len(in) == 1 && symbol(n) == "neg" {
			a, ok := v.constant(in[0])
			return -a, ok
		}
	}
	return 0, false
}

// verify holds a node to its operator: the number of inputs, the shape that
// follows from theirs, and the element type.
func (v *view) verify(n *G.Node) (err error) {
	defer func() {
		if r := recover(); r != nil { // Gorgonia's shape rules index without looking
			err = merged(n, "its operator does not fit its inputs: %v", r)
		}
	}()
	if n.Type() == nil {
		return refuse(n, "a statement, as gorgonia.Read makes it, has no value; give the node that it reads")
	}
	if n.Dtype() != tensor.Float32 {
		return refuse(n, "it is %v: the engine computes in float32 only", n.Dtype())
	}
	switch kind(n) {
	case "":
		if len(v.in[n]) != 0 {
			return merged(n, "it has no operator but %d inputs", len(v.in[n]))
		}
		return nil
	case "constantScalar", "constantTensor":
		return nil
	}
	if a := n.Op().Arity(); a >= 0 && a != len(v.in[n]) {
		return merged(n, "its operator takes %d inputs, it has %d", a, len(v.in[n]))
	}
	sizes := make([]G.DimSizer, len(v.in[n]))
	for i, c := range v.in[n] {
		sizes[i] = c.Shape()
		if kind(c) == "sizeOp" {
			sizes[i] = c.Op().(G.DimSizer)
		}
	}
	s, err := n.Op().InferShape(sizes...)
	if err != nil {
		return merged(n, "its operator does not fit its inputs: %v", err)
	}
	if !s.Eq(n.Shape()) {
		return merged(n, "its inputs make it %v", s)
	}
	return nil
}
