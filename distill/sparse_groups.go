package distill

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// GroupSparse is an objective with one term more, which draws whole channels toward
// 0 with everything that goes when they are cut: the rows, columns and scales w that
// lie in a unit k of a group g of channels (layers.Net.Groups). With
//
//	I² = Σ_{w in k} w²    far = (max I - I)/(max I - min I), over the units of g
//	loss + strength·½·Σ_g Σ_k factor·I²
//
// the gradient of w is strength·factor·w, once for each group that w lies in. The
// factor has no gradient. Of [SparseGroups] it is 2^(4·far), found anew in each step
// (Fang et al., "DepGraph", arXiv:2301.12900); of [SparseGrowing] it begins at 1 and
// grows by growth/strength·far at the beginning of every epoch but the first, for
// good (Wang et al., "Neural pruning via growing regularization", arXiv:2012.09243).
// Groups that cannot be cut, and biases, are left alone.
type GroupSparse struct {
	train.Objective
	sparsity Sparsity
	groups   []sparseGroup
	places   []*engine.Variable // of all members
	counted  *engine.Variable   // growing: the epochs for which the factors have grown
	epoch    []float32          // growing: the epoch under way
}

// A sparseGroup is a group of channels, with what of the net lies in its units.
type sparseGroup struct {
	size    int
	members []sparseMember
	factor  *engine.Variable // growing: [1,size]
}

// A sparseMember is an axis of a tensor.
type sparseMember struct {
	v    *engine.Variable
	axis int // PyTorch's: 0 for what is made, 1 for what is read
	// place is [n,size], 1 where index n of the axis lies in the unit, else 0. It is
	// nil where index k is unit k.
	place *engine.Variable
}

// reach is the exponent of the largest factor: 2⁴ times the smallest.
const reach = 4

// newGroupSparse returns an objective with the penalty on a model's channels. The
// store gets constants that the penalty needs.
func newGroupSparse(o train.Objective, m *layers.Model, store *engine.Store, c Sparsity) (*GroupSparse, error) {
	n := m.Net()
	groups, err := n.Groups()
	if err != nil {
		return nil, err
	}
	variables := make(map[string]*engine.Variable)
	for _, slot := range m.Slots() {
		variables[slot.Variable.Name] = slot.Variable
	}
	s := &GroupSparse{Objective: o, sparsity: c, epoch: []float32{0}}
	trains := false
	for i := range groups {
		g := &groups[i]
		if g.Fixed != "" || g.Size < 2 {
			continue
		}
		of := sparseGroup{size: g.Size}
		for k := range g.Uses {
			u := &g.Uses[k]
			v := variables[u.Tensor]
			if v == nil || u.Role != "weight" || !weighs(n.Module(u.Module).Kind) {
				continue
			}
			member := sparseMember{v: v, axis: u.Axis}
			if member.place, err = s.placed(store, u, g.Size); err != nil {
				return nil, err
			}
			trains = trains || v.Trainable
			of.members = append(of.members, member)
		}
		if len(of.members) == 0 {
			continue
		}
		if c.By == SparseGrowing {
			of.factor = &engine.Variable{Name: "sparsity.factor." + g.Name, Spec: engine.F32(1, g.Size)}
			if err := store.Set(of.factor, engine.Bytes(ones(g.Size))); err != nil {
				return nil, err
			}
		}
		s.groups = append(s.groups, of)
	}
	if !trains {
		return nil, fmt.Errorf("sparsity draws groups of channels to 0, and of %s none is trained that could be cut", n)
	}
	if c.By == SparseGrowing {
		s.counted = &engine.Variable{Name: "sparsity.epochs", Spec: engine.F32(1, 1)}
		return s, store.Set(s.counted, engine.Bytes([]float32{0}))
	}
	return s, nil
}

// weighs reports whether the weight of a kind of module tells how much a channel
// matters, as criteria of a cut have it.
func weighs(k layers.Kind) bool {
	switch k.(type) {
	case layers.Conv2d, layers.Linear, layers.BatchNorm2d, layers.LayerNorm2d, layers.GroupNorm, layers.InstanceNorm2d, layers.ScaleShift:
		return true
	}
	return false
}

// placed returns the matrix that takes sums along an axis to units, nil if it is 1.
func (s *GroupSparse) placed(store *engine.Store, u *layers.Use, size int) (*engine.Variable, error) {
	same := len(u.At) == size
	at := make([]float32, len(u.At)*size)
	for i, unit := range u.At {
		same = same && int(unit) == i
		if unit >= 0 {
			at[i*size+int(unit)] = 1
		}
	}
	if same {
		return nil, nil
	}
	v := &engine.Variable{Name: fmt.Sprintf("sparsity.place.%d", len(s.places)), Spec: engine.F32(len(u.At), size)}
	s.places = append(s.places, v)
	return v, store.Set(v, engine.Bytes(at))
}

// State implements train.Objective.
func (s *GroupSparse) State() []*engine.Variable {
	all := slices.Clone(s.Objective.State())
	for i := range s.groups {
		if f := s.groups[i].factor; f != nil {
			all = append(all, f)
		}
	}
	if s.counted != nil {
		all = append(all, s.counted)
	}
	return all
}

// Frozen implements train.Objective.
func (s *GroupSparse) Frozen() []*engine.Variable {
	return slices.Concat(s.Objective.Frozen(), s.places)
}

// Tell implements train.Objective.
func (s *GroupSparse) Tell(m train.Moment, b *data.Batch) {
	s.Objective.Tell(m, b)
	s.epoch[0] = float32(m.Epoch)
}

// Build implements train.Objective.
func (s *GroupSparse) Build(b *engine.Builder, in *train.Batch, out *engine.Outputs) []train.Term {
	terms := s.Objective.Build(b, in, out)
	defer b.Scope("sparsity")()
	w := &sparseWriter{calc: calc{b}, along: make(map[sparseAxis]*engine.Value)}
	if s.counted != nil {
		w.growth = float32(s.sparsity.Growth / s.sparsity.Strength)
		w.epochs = w.sub(in.Bind("sparsity.epoch", engine.F32(1, 1), engine.Bytes(s.epoch)), w.One(engine.Detach{}, w.Variable(s.counted)))
		w.One(engine.Accumulate{K: 1, Weight: 1}, w.fill(0), w.epochs, w.Variable(s.counted))
	}
	sums := make([]*engine.Value, len(s.groups))
	for i := range s.groups {
		sums[i] = w.group(&s.groups[i])
	}
	total := w.scale(sums[0], 0.5)
	if len(sums) > 1 {
		total = w.scale(w.One(engine.Add{}, sums...), 0.5)
	}
	return append(terms, train.Term{Name: "sparsity", Weight: float32(s.sparsity.Strength), Value: total})
}

// A sparseWriter writes the penalty.
type sparseWriter struct {
	calc
	along  map[sparseAxis]*engine.Value // the sums of squares that groups share
	growth float32
	epochs *engine.Value // growing: [1,1], the epochs that are yet to be counted
}

type sparseAxis struct {
	v    *engine.Variable
	axis int
}

// group is Σ factor·I² over the units of a group, a scalar.
func (w *sparseWriter) group(g *sparseGroup) *engine.Value {
	var square *engine.Value // [1,size]
	for _, m := range g.members {
		part := w.squares(sparseAxis{m.v, m.axis})
		if m.place != nil {
			part = w.product(part, w.Variable(m.place))
		}
		if square != nil {
			part = w.add(square, part)
		}
		square = part
	}
	far := w.far(w.of(engine.Sqrt, w.One(engine.Detach{}, square)))
	if g.factor == nil {
		return w.sum(w.mul(w.of(engine.Exp, w.scale(far, reach*math.Ln2)), square))
	}
	more := w.mul(w.scale(far, w.growth), w.spread(w.epochs, g.size))
	return w.sum(w.mul(w.One(engine.Accumulate{K: 1, Weight: 1}, w.fill(0), more, w.Variable(g.factor)), square))
}

// far is (max x - x)/(max x - min x) of a row, 0 where all are equal.
func (w *sparseWriter) far(x *engine.Value) *engine.Value {
	n := x.Shape[1]
	top, bottom := w.largest(x), w.scale(w.largest(w.scale(x, -1)), -1)
	return w.div(w.sub(w.spread(top, n), x), w.spread(w.plus(w.sub(top, bottom), tiny), n))
}

// squares is Σw² along an axis of a tensor in the engine's layout, [1,n].
func (w *sparseWriter) squares(a sparseAxis) *engine.Value {
	if have := w.along[a]; have != nil {
		return have
	}
	v := w.Variable(a.v)
	last := v.Shape[len(v.Shape)-1]
	rest := v.Len() / last
	x := w.shape(w.mul(v, v), rest, last)
	if a.axis == 1 { // [KH,KW,I,O], or [I,O]
		last = v.Shape[len(v.Shape)-2]
		rest /= last
		x = w.shape(w.rows(x), rest, last)
	}
	if rest > 1 {
		x = w.product(w.fill(1, 1, rest), x)
	}
	w.along[a] = x
	return x
}

func ones(n int) []float32 {
	all := make([]float32, n)
	for i := range all {
		all[i] = 1
	}
	return all
}
