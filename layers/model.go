package layers

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A Model is a net made ready for an engine: the net, and the identities of its
// variables, without values. Values live in an engine.Store, so that one model
// may have several sets of weights (the trained ones and their moving average)
// and one set may serve several graphs (training, evaluation).
type Model struct {
	net    *Net
	slots  []Slot
	values map[string]*engine.Variable
	frozen map[string]bool // modules in evaluation mode
}

// A Slot is one tensor of a state_dict: the variable that stands for it, how
// PyTorch lays it out, and how it starts.
type Slot struct {
	// Variable has PyTorch's name and the engine's shape.
	Variable *engine.Variable
	Layout   Layout
	Init     Init
	// Buffer marks what is no parameter: statistics and counters.
	Buffer bool
}

// Shape returns PyTorch's shape of the tensor.
func (s Slot) Shape() []int { return s.Layout.Torch(s.Variable.Shape) }

// New builds the model of a family that a describes. The error says in one line
// what in a cannot be.
func New(a Arch) (*Model, error) {
	n, err := a.Net()
	if err != nil {
		return nil, err
	}
	return n.Model()
}

// Model checks the net and returns a model of it.
func (n *Net) Model() (*Model, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return n.model()
}

// Function is Model for a net that need not be a classifier: its output may have
// any shape, modules need not lead to it, and none need have weights. Its
// outputs are those of Build, by their modules' names.
func (n *Net) Function() (*Model, error) {
	if err := n.validate(false); err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	return n.model()
}

func (n *Net) model() (*Model, error) {
	ts, err := n.params()
	if err != nil {
		return nil, err
	}
	m := &Model{net: n, values: make(map[string]*engine.Variable, len(ts)), frozen: make(map[string]bool)}
	for _, t := range ts {
		v := &engine.Variable{Name: t.name, Spec: t.Spec, Trainable: !t.Buffer}
		m.values[t.name] = v
		m.slots = append(m.slots, Slot{Variable: v, Layout: t.Layout, Init: t.Init, Buffer: t.Buffer})
	}
	return m, nil
}

// Net returns the model's net. It must not be changed.
func (m *Model) Net() *Net { return m.net }

// Arch returns the description of the model's net: see Net.Arch.
func (m *Model) Arch() Arch { return m.net.Arch() }

// Forward adds the net to b's graph and returns its logits [N, classes]. x are
// the images, [N,H,W,C]. With train, batch norms use and move the statistics of
// the batch and dropout drops, but not in frozen modules.
func (m *Model) Forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	return m.Build(b, x, train).Logits
}

// Build is Forward that returns the outputs of all modules: those that a loss
// taps. Errors go to b; images of another size than the net's Input is one.
func (m *Model) Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs {
	if _, h, w, _, ok := x.NHWC(); ok && b.Err() == nil && !m.net.Input.takes(h, w) {
		in := m.net.Input
		b.Fail(fmt.Errorf("%s takes images of %dx%d pixels, not %dx%d; set the size to what it takes", m.net, in.Height, in.Width, h, w))
		return &engine.Outputs{Logits: x}
	}
	if err := m.checkStatistics(); train && err != nil && b.Err() == nil {
		b.Fail(err)
	}
	o := m.net.build(b, x, m.values, func(name string) bool { return train && !m.frozen[name] })
	if b.Err() == nil && o.Logits.DType == engine.BFloat16 {
		o.Logits = b.One(engine.Cast{To: engine.Float32}, o.Logits)
	}
	return o
}

// checkStatistics reports two batch norms that would both move the same running
// statistics in a step, which has no order that could be told from the file.
func (m *Model) checkStatistics() error {
	owner := make(map[string]string)
	for i := range m.net.Modules {
		mod := &m.net.Modules[i]
		if m.frozen[mod.Name] {
			continue
		}
		for _, p := range mod.Kind.Params() {
			if !p.Buffer {
				continue
			}
			name := mod.Tensor(p.Role)
			if first, ok := owner[name]; ok {
				return fmt.Errorf("%s: %s and %s share %s, which both would change; give each its own to train them, or freeze one", m.net, first, mod.Name, name)
			}
			owner[name] = mod.Name
		}
	}
	return nil
}

// build writes the net down in the order of execution. An error of the builder
// names the module.
func (n *Net) build(b *engine.Builder, x *engine.Value, values map[string]*engine.Variable, train func(module string) bool) *engine.Outputs {
	o := new(engine.Outputs)
	for i := range n.Modules {
		m := &n.Modules[i]
		c := Call{Builder: b, Train: train(m.Name), module: m, values: values, In: make([]*engine.Value, len(m.In))}
		for k, from := range m.In {
			if c.In[k] = x; from != Image {
				c.In[k] = o.At(from)
			}
		}
		restore := b.Scope(m.Name)
		o.Add(m.Name, c.build())
		restore()
		if b.Err() != nil {
			break
		}
	}
	if o.Logits = o.At(n.Output); o.Logits == nil {
		o.Logits = x // a placeholder, which must not be used
	}
	return o
}

// trialSize is the height and width on which a net that takes images of any
// size is tried.
const trialSize = 224

// takes reports whether the net takes images of h×w pixels.
func (in Input) takes(h, w int) bool {
	return in.Height == 0 || h == in.Height && w == in.Width
}

// trial returns the shape of an image that the net takes.
func (in Input) trial() engine.Spec {
	h, w := in.Height, in.Width
	if h == 0 {
		h, w = trialSize, trialSize
	}
	return engine.F32(1, h, w, in.Channels)
}

// shapes returns the outputs of all modules for one image, by name.
func (n *Net) shapes() (map[string]engine.Spec, error) {
	ts, err := n.params()
	if err != nil {
		return nil, err
	}
	values := make(map[string]*engine.Variable, len(ts))
	for _, t := range ts {
		values[t.name] = &engine.Variable{Name: t.name, Spec: t.Spec}
	}
	b := engine.NewBuilder(engine.NewGraph())
	o := n.build(b, b.Input(Image, n.Input.trial()), values, func(string) bool { return false })
	if err := b.Err(); err != nil {
		if n.Input.Height == 0 {
			return nil, fmt.Errorf("%w (tried on images of %dx%d pixels; if the net is for another size, its input must say so)", err, trialSize, trialSize)
		}
		return nil, err
	}
	out := map[string]engine.Spec{Image: n.Input.trial()}
	for _, name := range o.Modules() {
		out[name] = o.At(name).Spec
	}
	return out, nil
}

// checkShapes makes sure that the modules fit each other.
func (n *Net) checkShapes(classifier bool) error {
	s, err := n.shapes()
	if err != nil {
		return err
	}
	total := 0
	for i := range n.Modules {
		v := s[n.Modules[i].Name]
		c := v.Shape[len(v.Shape)-1]
		if total += c; v.Len() > maxValue || c > maxFeatures || total > maxFeatures {
			return fmt.Errorf("%s: its output %v is too large", n.Modules[i].Name, v)
		}
	}
	if v := s[n.Output]; classifier && len(v.Shape) != 2 {
		return fmt.Errorf("%s: the net's output is %v; logits are [N,classes]", n.Output, v)
	}
	return nil
}

// Slots returns the tensors of the model in the order of PyTorch's state_dict.
func (m *Model) Slots() []Slot { return slices.Clone(m.slots) }

// Variables returns the variables of the model in the order of PyTorch's
// state_dict: parameters, which are Trainable unless they are frozen, and
// buffers.
func (m *Model) Variables() []*engine.Variable {
	vs := make([]*engine.Variable, len(m.slots))
	for i, s := range m.slots {
		vs[i] = s.Variable
	}
	return vs
}

// Counters returns the num_batches_tracked of the batch norms that count: those
// that are not frozen.
func (m *Model) Counters() []*engine.Variable {
	var out []*engine.Variable
	for i := range m.net.Modules {
		mod := &m.net.Modules[i]
		for _, p := range mod.Kind.Params() {
			if p.Spec.DType == engine.Int64 && !m.frozen[mod.Name] {
				out = append(out, m.values[mod.Tensor(p.Role)])
			}
		}
	}
	return out
}

// Moves reports whether a step of training changes one of the model's variables:
// a parameter that is not frozen, or a statistic of a batch norm that is not.
func (m *Model) Moves(v *engine.Variable) bool {
	for i := range m.net.Modules {
		mod := &m.net.Modules[i]
		for _, p := range mod.Kind.Params() {
			if m.values[mod.Tensor(p.Role)] == v && p.Buffer && !m.frozen[mod.Name] {
				return true
			}
		}
	}
	return v.Trainable
}

// Params returns the number of parameters, frozen ones included.
func (m *Model) Params() int {
	n := 0
	for _, s := range m.slots {
		if !s.Buffer {
			n += s.Variable.Len()
		}
	}
	return n
}
