package distill

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// What a [Sparsity] draws to 0.
const (
	SparseScales  = "scales"  // the scales of batch norms: [Sparse]
	SparseGroups  = "groups"  // groups of channels, the weakest most: [GroupSparse]
	SparseGrowing = "growing" // groups of channels, with a force that grows: [GroupSparse]
)

// A Sparsity says what training draws toward 0, so that the channels that matter
// least tell themselves apart before a cut. The zero Sparsity draws nothing.
type Sparsity struct {
	// Strength is the factor of the penalty in the loss.
	Strength float64 `json:"sparsity,omitempty"`
	// By is what is drawn; "" means SparseScales.
	By string `json:"sparsity_by,omitempty"`
	// Growth is by how much the force on the weakest channels of a group grows an
	// epoch under SparseGrowing; 0 means Strength.
	Growth float64 `json:"sparsity_growth,omitempty"`
}

// String names the setting.
func (s Sparsity) String() string {
	switch {
	case s.Strength == 0 && s.By == "":
		return "0"
	case s.Growth != 0:
		return fmt.Sprintf("%v by %s and %v an epoch", s.Strength, s.By, s.Growth)
	case s.By != "":
		return fmt.Sprintf("%v by %s", s.Strength, s.By)
	}
	return fmt.Sprint(s.Strength)
}

// Validate reports settings that make no sense.
func (s Sparsity) Validate() error {
	finite := func(x float64) bool { return x > 0 && !math.IsInf(float64(float32(x)), 0) }
	switch {
	case s == Sparsity{}:
		return nil
	case s.Strength == 0:
		return fmt.Errorf("what sparsity draws by is given and not how strongly; give sparsity a positive number, as 1e-4")
	case !finite(s.Strength):
		return fmt.Errorf("sparsity %v; give a positive number, as 1e-4", s.Strength)
	case s.By != "" && s.By != SparseScales && s.By != SparseGroups && s.By != SparseGrowing:
		return fmt.Errorf("sparsity by %q; give %s, %s or %s", s.By, SparseScales, SparseGroups, SparseGrowing)
	case s.Growth != 0 && s.By != SparseGrowing:
		return fmt.Errorf("sparsity grows with by %s alone; leave its growth out", SparseGrowing)
	case s.Growth != 0 && !finite(s.Growth):
		return fmt.Errorf("sparsity grows by %v; give a positive number, as 1e-5", s.Growth)
	}
	return nil
}

// Objective returns the objective o of a model with the penalty, whose constants
// and factors go into the store; o itself if there is none.
func (s Sparsity) Objective(o train.Objective, m *layers.Model, store *engine.Store) (train.Objective, error) {
	if err := s.Validate(); err != nil || s.Strength == 0 {
		return o, err
	}
	if s.By == "" || s.By == SparseScales {
		return NewSparse(o, m, s.Strength)
	}
	if s.Growth == 0 {
		s.Growth = s.Strength
	}
	return newGroupSparse(o, m, store, s)
}

// Sparse is an objective with one term more, which draws the scales γ of all batch
// norms toward 0, so that the channels that matter least tell themselves apart before
// they are cut (Liu et al., "Network slimming", arXiv:1708.06519):
//
//	loss + strength·Σ|γ|
//
// over all channels of all batch norms. Its gradient is strength·sign(γ).
type Sparse struct {
	train.Objective
	strength float32
	gammas   []*engine.Variable
}

// NewSparse returns an objective with the penalty on a model's scales. A model
// without trainable batch norms has none to draw.
func NewSparse(o train.Objective, m *layers.Model, strength float64) (*Sparse, error) {
	if !(strength > 0) || math.IsInf(float64(float32(strength)), 0) {
		return nil, fmt.Errorf("sparsity %v; give a positive number, as 1e-4", strength)
	}
	s := &Sparse{Objective: o, strength: float32(strength)}
	n := m.Net()
	scales := make(map[string]bool)
	for i := range n.Modules {
		if _, ok := n.Modules[i].Kind.(layers.BatchNorm2d); ok {
			scales[n.Modules[i].Tensor("weight")] = true
		}
	}
	for _, slot := range m.Slots() {
		if v := slot.Variable; v.Trainable && scales[v.Name] {
			s.gammas = append(s.gammas, v)
		}
	}
	if len(s.gammas) == 0 {
		return nil, fmt.Errorf("sparsity draws the scales of batch norms to 0, and %s trains none", n)
	}
	return s, nil
}

// Build implements train.Objective. The sum is written as the mean of one square,
// of its root, for which there are operators; it is positive unless every γ is 0.
func (s *Sparse) Build(b *engine.Builder, in *train.Batch, out *engine.Outputs) []train.Term {
	terms := s.Objective.Build(b, in, out)
	defer b.Scope("sparsity")()
	full := func(name string, spec engine.Spec) *engine.Value {
		return in.Bind(name, spec, engine.Bytes(ones(spec.Len())))
	}
	var sums []*engine.Value
	columns := make(map[int][2]*engine.Value) // by the number of channels
	for _, v := range s.gammas {
		n := v.Len()
		if columns[n][0] == nil {
			columns[n] = [2]*engine.Value{
				full(fmt.Sprintf("sparsity.row.%d", n), engine.F32(1, n)), full(fmt.Sprintf("sparsity.column.%d", n), engine.F32(n, 1)),
			}
		}
		row := b.One(engine.ScaleShift{Scale: true}, columns[n][0], b.Variable(v)) // [1,C], γ itself
		size := b.One(engine.Activation{F: engine.Abs}, row)
		sums = append(sums, b.One(engine.Linear{}, size, columns[n][1])) // [1,1]
	}
	sum := sums[0]
	if len(sums) > 1 {
		sum = b.One(engine.Add{}, sums...)
	}
	zero := in.Bind("sparsity.zero", engine.F32(1, 1), engine.Bytes(make([]float32, 1)))
	value := b.One(engine.MSE{}, b.One(engine.Activation{F: engine.Sqrt}, sum), zero)
	return append(terms, train.Term{Name: "sparsity", Weight: s.strength, Value: value})
}
