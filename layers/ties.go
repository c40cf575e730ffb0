package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// An Elem is one channel of a value of the net: what is cut or kept whole.
type Elem int32

// Ties collects which channels of a net are one. Every Kind says so of itself,
// by its Tie method, in the order of execution: where it makes new channels,
// which channels of its inputs go through to its output, which must be cut
// together, and along which axes of its tensors channels lie. A union-find
// forest (Tarjan, 1975) over the channels, not over whole axes, then gives the
// net's groups, through concatenations and shuffles too.
type Ties struct {
	parent []Elem
	origin []int // of each element: the module that made it, by index; -1 the image
	values map[string][]Elem
	axes   []axis
	fixed  map[Elem]string

	module int
	at     *Module
	shapes map[string]engine.Spec
	shared map[axisKey][]Elem
}

// An axis is one of a tensor in PyTorch's layout, and the channels along it.
type axis struct {
	module, role, tensor string
	axis                 int
	at                   []Elem
}

type axisKey struct {
	tensor string
	axis   int
}

// Inputs returns the number of the module's inputs.
func (t *Ties) Inputs() int { return len(t.at.In) }

// Input returns the channels of input i, of a flat input its features.
func (t *Ties) Input(i int) []Elem { return t.values[t.at.In[i]] }

// Spec returns the shape of input i, for one image.
func (t *Ties) Spec(i int) engine.Spec { return t.shapes[t.at.In[i]] }

// New returns n channels that are tied to nothing yet.
func (t *Ties) New(n int) []Elem {
	out := make([]Elem, n)
	for i := range out {
		out[i] = Elem(len(t.parent))
		t.parent = append(t.parent, out[i])
		t.origin = append(t.origin, t.module)
	}
	return out
}

// Unite makes a[i] and b[i] one, for every i.
func (t *Ties) Unite(a, b []Elem) {
	if len(a) != len(b) {
		panic(fmt.Sprintf("layers: %s ties %d channels to %d", t.at.Name, len(a), len(b)))
	}
	for i := range a {
		x, y := t.root(a[i]), t.root(b[i])
		t.parent[max(x, y)] = min(x, y) // the first one made stands for all
	}
}

// Fix says why channels cannot be cut.
func (t *Ties) Fix(at []Elem, why string) {
	for _, e := range at {
		if t.fixed[e] == "" {
			t.fixed[e] = why
		}
	}
}

// Axis says which channels lie along an axis, in PyTorch's layout, of the
// module's tensor of a role.
func (t *Ties) Axis(role string, n int, at []Elem) {
	name := t.at.Tensor(role)
	key := axisKey{name, n}
	if first, ok := t.shared[key]; ok {
		t.Unite(first, at) // the modules that share a tensor are cut alike
		return
	}
	t.shared[key] = at
	t.axes = append(t.axes, axis{t.at.Name, role, name, n, at})
}

// Output says which channels the module's output has.
func (t *Ties) Output(at []Elem) { t.values[t.at.Name] = at }

func (t *Ties) root(e Elem) Elem {
	for t.parent[e] != e {
		t.parent[e] = t.parent[t.parent[e]]
		e = t.parent[e]
	}
	return e
}

// ties asks every module of a valid net.
func (n *Net) ties() (*Ties, error) {
	shapes, err := n.shapes()
	if err != nil {
		return nil, err
	}
	t := &Ties{
		values: make(map[string][]Elem, len(n.Modules)), fixed: make(map[Elem]string),
		shapes: shapes, shared: make(map[axisKey][]Elem), module: -1,
	}
	t.values[Image] = t.New(n.Input.Channels)
	for i := range n.Modules {
		t.module, t.at = i, &n.Modules[i]
		t.at.Kind.Tie(t)
		t.tieScales()
		shape := shapes[t.at.Name].Shape
		if got, want := len(t.values[t.at.Name]), shape[len(shape)-1]; got != want {
			return nil, fmt.Errorf("%s: a %s ties %d channels of %d", t.at.Name, KindName(t.at.Kind), got, want)
		}
	}
	t.Fix(t.values[Image], fixedImage)
	t.Fix(t.values[n.Output], fixedOutput)
	return t, nil
}

// Why the ends of a net cannot be cut.
const (
	fixedImage  = "it is the channels of the image"
	fixedOutput = "it is the classes"
)
