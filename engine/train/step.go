package train

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A Step writes down what one step of training computes: the net's logits, the
// loss, its gradient, clipping, the optimizer for each group of parameters, and
// the average of the weights. It is the one writer of steps: a [Trainer] runs
// what Build writes, and whoever shows or times a step has it from there too.
type Step struct {
	net    Net
	loss   LossFunc
	c      Config
	frozen []*engine.Variable

	state  *state
	active []int // the parameters that have gradients
	feed   feed
}

// NewStep returns the step of a net. Of c it takes Optimizer, ClipNorm,
// Accumulate, EMA, LabelSmoothing, Precision and Seed. A loss of nil is the
// cross-entropy. Frozen are variables that the loss reads, such as a teacher's:
// a step that would change one is refused.
func NewStep(net Net, c Config, loss LossFunc, frozen []*engine.Variable) *Step {
	c = c.normalized()
	if loss == nil {
		loss = CrossEntropy(c.LabelSmoothing)
	}
	return &Step{net: net, loss: loss, c: c, frozen: frozen, state: newState(net, c), feed: newFeed(c.Seed)}
}

// A WrittenStep says where the values of a step are in its graph.
type WrittenStep struct {
	// Target is the input of the classes [N, classes], whose rows sum to one.
	Target *engine.Value
	// Loss is a scalar, Logits is [N, classes], and Norm is the gradient's norm
	// before clipping. Each is nil where there is none.
	Loss, Logits, Norm *engine.Value
	// In has the data of every input but Target and the images. It is kept up to
	// date by [Step.Tell].
	In engine.Bindings
}

// Build writes the step for a batch of images [N,H,W,C] in float32, all of it or,
// when accumulating, what comes before the optimizer. Weight is the share of the
// batch's gradient in that of its step, 1 if it is the whole.
func (s *Step) Build(b *engine.Builder, images *engine.Value, classes int, weight float32) (*WrittenStep, error) {
	w := &WrittenStep{In: make(engine.Bindings), Target: b.Input("target", engine.F32(images.Shape[0], classes))}
	if s.c.Precision == BFloat16 {
		images = b.One(engine.Cast{To: engine.BFloat16}, images)
	}
	w.Logits = s.net.Forward(b, images, true)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if !w.Logits.Equal(w.Target.Spec) {
		return nil, fmt.Errorf("the net's logits are %v, the data have %d classes", w.Logits.Spec, classes)
	}
	w.Loss = s.loss(b, images, w.Logits, w.Target)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if w.Loss.Len() != 1 {
		return nil, fmt.Errorf("the loss is %v, not a scalar", w.Loss.Spec)
	}
	if err := s.descend(b, w, weight); err != nil {
		return nil, err
	}
	if err := s.checkFrozen(b.Graph()); err != nil {
		return nil, err
	}
	if v := b.Graph().Input(engine.DropoutInput); v != nil {
		w.In[v] = engine.Bytes(s.feed.counter)
	}
	return w, b.Err()
}

// BuildUpdate writes the optimizer alone, which takes what the batches of a step
// have accumulated.
func (s *Step) BuildUpdate(b *engine.Builder) (*WrittenStep, error) {
	w := &WrittenStep{In: make(engine.Bindings)}
	s.update(b, w, s.pick(b, nil, s.state.accs))
	return w, b.Err()
}

// descend writes what becomes of the loss.
func (s *Step) descend(b *engine.Builder, w *WrittenStep, weight float32) error {
	if s.c.Optimizer.Kind == Stale {
		s.average(b, w)
		return nil
	}
	grads, err := s.gradients(b, w.Loss)
	if err != nil {
		return err
	}
	if s.c.Accumulate > 1 {
		s.accumulate(b, w, grads, weight)
	} else {
		s.update(b, w, grads)
	}
	return nil
}

// gradients builds those of the parameters that the loss depends on; s.active
// lists these. PyTorch's optimizers likewise pass over parameters without one.
func (s *Step) gradients(b *engine.Builder, loss *engine.Value) ([]*engine.Value, error) {
	wrt := make([]*engine.Value, len(s.state.params))
	for i, p := range s.state.params {
		wrt[i] = b.Variable(p)
	}
	all, err := engine.Grad(b.Graph(), loss, wrt)
	if err != nil {
		return nil, err
	}
	var grads []*engine.Value
	s.active = s.active[:0]
	for i, d := range all {
		if d != nil {
			s.active = append(s.active, i)
			grads = append(grads, d)
		}
	}
	if len(grads) == 0 {
		return nil, fmt.Errorf("the loss depends on none of the net's %d parameters", len(all))
	}
	return grads, nil
}

// pick appends the values of the active ones of vars.
func (s *Step) pick(b *engine.Builder, in []*engine.Value, vars []*engine.Variable) []*engine.Value {
	for _, i := range s.active {
		in = append(in, b.Variable(vars[i]))
	}
	return in
}

// accumulate adds the gradients to the accumulators.
func (s *Step) accumulate(b *engine.Builder, w *WrittenStep, grads []*engine.Value, weight float32) {
	defer b.Scope("accumulate")()
	first := b.Input("first", engine.F32())
	w.In[first] = engine.Bytes(s.feed.first)
	in := append([]*engine.Value{first}, grads...)
	b.Apply(engine.Accumulate{K: len(grads), Weight: weight}, s.pick(b, in, s.state.accs)...)
}

// A group is the parameters that share a factor of the learning rate: places in
// the list of the active ones.
type group struct {
	factor float64
	at     []int
}

// groups puts the active parameters into groups, in the order in which their
// factors are met. Without factors there is one.
func (s *Step) groups() []group {
	var out []group
	for k, i := range s.active {
		f := s.c.Optimizer.factor(s.state.params[i])
		g := slices.IndexFunc(out, func(g group) bool { return g.factor == f })
		if g < 0 {
			g = len(out)
			out = append(out, group{factor: f})
		}
		out[g].at = append(out[g].at, k)
	}
	return out
}

// update clips, moves the parameters along the gradients, and averages.
func (s *Step) update(b *engine.Builder, w *WrittenStep, grads []*engine.Value) {
	defer b.Scope("optimizer")()
	var scale *engine.Value
	if s.c.ClipNorm > 0 {
		out := b.Apply(engine.ClipScale{MaxNorm: s.c.ClipNorm}, grads...)
		w.Norm, scale = out[0], out[1]
	} else {
		scale = b.One(engine.Fill{Value: 1})
	}
	params := s.pick(b, nil, s.state.params)
	slots := make([][]*engine.Value, len(s.state.slots))
	for i, slot := range s.state.slots {
		slots[i] = s.pick(b, nil, slot)
	}
	for i, g := range s.groups() {
		hyper := b.Input("hyper", engine.F32(engine.HyperLen))
		w.In[hyper] = engine.Bytes(s.feed.group(i, g.factor))
		in := []*engine.Value{hyper, scale}
		for _, list := range append([][]*engine.Value{params, grads}, slots...) {
			for _, k := range g.at {
				in = append(in, list[k])
			}
		}
		b.Apply(s.c.Optimizer.op(len(g.at)), in...)
	}
	s.average(b, w)
}

// average moves the averages of the weights toward what the step has left in
// the variables.
func (s *Step) average(b *engine.Builder, w *WrittenStep) {
	if len(s.state.ema) == 0 || b.Err() != nil {
		return
	}
	defer b.Scope("ema")()
	decay := b.Input("decay", engine.F32())
	w.In[decay] = engine.Bytes(s.feed.decay)
	now := current(b.Graph())
	in := []*engine.Value{decay}
	for _, v := range s.state.source {
		val := b.Variable(v)
		if c := now[v]; c != nil {
			val = c
		}
		in = append(in, val)
	}
	for _, v := range s.state.ema {
		in = append(in, b.Variable(v))
	}
	b.Apply(engine.EMA{K: len(s.state.ema)}, in...)
}

// current returns, for every variable that the graph overwrites, the value
// that holds its final content.
func current(g *engine.Graph) map[*engine.Variable]*engine.Value {
	now := make(map[*engine.Variable]*engine.Value)
	owner := make(map[*engine.Value]*engine.Variable)
	for _, n := range g.Nodes() {
		u, ok := n.Op.(engine.Updater)
		if !ok {
			continue
		}
		for i, o := range n.Out {
			k := u.Alias(i)
			if k < 0 || k >= len(n.In) {
				continue
			}
			v := n.In[k].Variable()
			if v == nil {
				v = owner[n.In[k]]
			}
			owner[o], now[v] = v, o
		}
	}
	return now
}

// checkFrozen refuses a graph that moves one of the variables that the caller
// has declared as not the net's.
func (s *Step) checkFrozen(g *engine.Graph) error {
	now := current(g)
	for _, v := range s.frozen {
		if now[v] != nil {
			return fmt.Errorf("the step would change %s, which belongs to a frozen net: build that net in evaluation mode", v.Name)
		}
	}
	return nil
}
