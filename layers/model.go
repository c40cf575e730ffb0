package layers

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A Model is a net: an architecture and the identities of its variables,
// without values.
type Model struct {
	arch  Arch
	net   Layer
	slots []Slot
}

// New builds the model that a describes. The error says in one line what in a
// cannot be.
func New(a Arch) (*Model, error) {
	a, f, err := a.resolve()
	if err != nil {
		return nil, err
	}
	m, err := Compose(f.name, f.build(a))
	if err != nil {
		return nil, err
	}
	m.arch = a
	return m, nil
}

// Compose makes a model of layers that follow each other. Its Arch has nothing
// but the given name as Family, which New does not know: such a model is
// rebuilt by the program that composed it.
func Compose(name string, ls ...Layer) (*Model, error) {
	if len(ls) == 0 || slices.Contains(ls, nil) {
		return nil, fmt.Errorf("%s: a model needs layers, and none may be nil", name)
	}
	net := ls[0]
	if len(ls) > 1 {
		net = NewSequential("", ls...)
	}
	if err := check(net); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m := &Model{arch: Arch{Family: name}, net: net, slots: net.Slots()}
	seen := make(map[string]bool, len(m.slots))
	for _, s := range m.slots {
		if seen[s.Variable.Name] {
			return nil, fmt.Errorf("%s: two tensors are named %s; give each layer a name of its own", name, s.Variable.Name)
		}
		seen[s.Variable.Name] = true
	}
	return m, nil
}

// Arch returns the description of the model with everything filled in: Widths
// and InChannels always, Base where the widths are multiples of one.
func (m *Model) Arch() Arch {
	a := m.arch
	a.Widths = slices.Clone(a.Widths)
	return a
}

// Forward adds the net to b's graph, from images x [N,H,W,InChannels] to
// logits [N,Classes]. With train, BatchNorm2d uses the batch's statistics and
// moves the running ones, and Dropout drops. Errors go to b and name the layer.
//
// Images in bfloat16 make a net of mixed precision: every activation, and its
// gradient, is stored in bfloat16, while weights, statistics, sums and logits
// stay float32 (Micikevicius et al., arXiv:1710.03740, with bfloat16, which
// needs no scaling of the loss). The backend must have it: engine.MixedPrecision.
func (m *Model) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	logits := m.net.Forward(b, x, train)
	if b.Err() == nil && logits.DType == engine.BFloat16 {
		logits = b.One(engine.Cast{To: engine.Float32}, logits)
	}
	return logits
}

// Slots returns the tensors of the model in the order of PyTorch's state_dict.
func (m *Model) Slots() []Slot { return slices.Clone(m.slots) }

// Variables returns the variables of the model in the order of PyTorch's
// state_dict: parameters, which are Trainable, and BatchNorm2d's buffers.
func (m *Model) Variables() []*engine.Variable {
	vs := make([]*engine.Variable, len(m.slots))
	for i, s := range m.slots {
		vs[i] = s.Variable
	}
	return vs
}

// Params returns the number of trainable parameters.
func (m *Model) Params() int { return params(m.slots) }

// params counts the trainable elements of slots.
func params(slots []Slot) int {
	n := 0
	for _, s := range slots {
		if s.Variable.Trainable {
			n += s.Variable.Len()
		}
	}
	return n
}
